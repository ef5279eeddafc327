"""Values of every variable, right ones with their meaning."""

from __future__ import annotations

from fractions import Fraction
from ipaddress import IPv4Network, IPv6Network
from typing import Any

MINIMAL = {
    "AUTH_TOKEN": "a-long-enough-admin-token",
    "S3_ENDPOINT": "http://127.0.0.1:9",
    "S3_BUCKET": "assets",
    "S3_ACCESS_KEY": "AKIDEXAMPLE",
    "S3_SECRET_KEY": "wJalrXUtnFEMI-EXAMPLE",
}

DURATIONS: list[tuple[str, float]] = [
    ("300ms", 0.3),
    ("15s", 15.0),
    ("5m", 300.0),
    ("1h30m", 5400.0),
    ("1.5h", 5400.0),
    ("1h0m0.5s", 3600.5),
    ("1.s", 1.0),
    (".5s", 0.5),
    ("250us", 0.00025),
    ("250µs", 0.00025),
    ("250μs", 0.00025),
    ("1000000ns", 0.001),
    ("1m1m", 120.0),
]
NO_DURATION = ["300", "1.5", "-5s", "+5s", " 5s", "5s ", "5 s", "5", "1_0s", "٣s", "5S", "5d", "s"]
NO_DURATION += [".s", "1..5s", "1e3s", "5s,", "inf", "nan", "1h30", "9" * 70 + "s", "5s\n"]
NO_INTEGER = ["-1", "+5", " 5", "5 ", "1_000", "٣", "5.0", "0x10", "1e3", "five", "9" * 5000, "5\n"]
NO_SIZE = ["-1", "+5", " 5", "5 ", "1_000", "٣", "1.5MiB", "16mib", "16 MiB", "16M", "1TB", "5\n"]
NO_SIZE += ["9" * 18 + "GiB", "MiB", "9" * 5000, "KiB16", "0x10", "16ΚB"]
NO_KEY = ["with space", "tab\t", "line\n", "ключ", "nul\0"]


def durations(field: str, *, longest: str) -> list[tuple[str, dict[str, Any]]]:
    return [(text, {field: seconds}) for text, seconds in DURATIONS] + [(longest, {})]


LONG = "596523h"
DAY = "24h"
NONE = ["0", "0s", "0h0m0.0s"]

# variable -> texts, each with the fields of Config it must give
GOOD: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "AUTH_TOKEN": [
        ("12345678", {"auth_token": "12345678"}),
        ("!~\"'\\,;=%", {"auth_token": "!~\"'\\,;=%"}),
        ("x" * 512, {"auth_token": "x" * 512}),
    ],
    "S3_ENDPOINT": [
        ("https://s3.amazonaws.com", {"s3_endpoint": "https://s3.amazonaws.com"}),
        ("https://s3.amazonaws.com/", {"s3_endpoint": "https://s3.amazonaws.com"}),
        ("HTTPS://S3.Example.COM:443", {"s3_endpoint": "https://s3.example.com"}),
        ("http://minio:9000", {"s3_endpoint": "http://minio:9000"}),
        ("http://minio:80/", {"s3_endpoint": "http://minio"}),
        ("http://127.0.0.1:1", {"s3_endpoint": "http://127.0.0.1:1"}),
        ("http://[0:0::1]:9000", {"s3_endpoint": "http://[::1]:9000"}),
        ("http://[::1]", {"s3_endpoint": "http://[::1]"}),
    ],
    "S3_BUCKET": [
        ("abc", {"s3_bucket": "abc"}),
        ("My_Bucket.2-old", {"s3_bucket": "My_Bucket.2-old"}),
        ("b" * 63, {"s3_bucket": "b" * 63}),
    ],
    "S3_ACCESS_KEY": [("k", {"s3_access_key": "k"}), ("a/+=", {"s3_access_key": "a/+="})],
    "S3_SECRET_KEY": [("k", {"s3_secret_key": "k"}), ("a/+=", {"s3_secret_key": "a/+="})],
    "S3_SESSION_TOKEN": [("t" * 2000, {"s3_session_token": "t" * 2000})],
    "S3_CREDENTIALS": [("static", {"s3_credentials": "static"}), ("STATIC", {})],
    "S3_REGION": [
        ("auto", {"s3_region": "auto"}),
        ("AUTO", {"s3_region": "auto"}),
        ("eu-central-1", {"s3_region": "eu-central-1"}),
        ("garage", {"s3_region": "garage"}),
    ],
    "S3_ADDRESSING_STYLE": [
        ("path", {"s3_addressing_style": "path"}),
        ("virtual", {"s3_addressing_style": "virtual"}),
        ("Auto", {"s3_addressing_style": "auto"}),
    ],
    "S3_PREFIX": [
        ("site/", {"s3_prefix": "site/"}),
        ("a//b..c/.hidden", {"s3_prefix": "a//b..c/.hidden"}),
        ("ü +%2F", {"s3_prefix": "ü +%2F"}),
        ("ü" * 256, {"s3_prefix": "ü" * 256}),
    ],
    "SERVER_ADDR": [
        (":8080", {"host": "", "port": 8080}),
        (":0", {"host": "", "port": 0}),
        ("127.0.0.1:9000", {"host": "127.0.0.1", "port": 9000}),
        ("localhost:65535", {"host": "localhost", "port": 65535}),
        ("[::]:8080", {"host": "::", "port": 8080}),
        ("[0:0::1]:80", {"host": "::1", "port": 80}),
    ],
    "PORT": [
        ("1", {"host": "", "port": 1}),
        ("65535", {"host": "", "port": 65535}),
        ("08080", {"host": "", "port": 8080}),
    ],
    "WEB_CONCURRENCY": [("1", {"web_concurrency": 1}), ("1024", {"web_concurrency": 1024})],
    "CACHE_CAPACITY": [("1", {"cache_capacity": 1}), ("1000000000", {})],
    "CACHE_MAX_BYTES": [
        ("16777216", {"cache_max_bytes": 2**24}),
        ("1GiB", {"cache_max_bytes": 2**30}),
        ("2GB", {"cache_max_bytes": 2 * 10**9}),
    ],
    "CACHE_TTL": [(text, {"cache_ttl": 0.0}) for text in NONE]
    + durations("cache_ttl", longest=LONG),
    "CACHE_STALE_TTL": [(text, {"cache_stale_ttl": 0.0}) for text in NONE]
    + durations("cache_stale_ttl", longest=LONG),
    "CACHE_STALE_IF_ERROR": [(text, {"cache_stale_if_error": 0.0}) for text in NONE]
    + durations("cache_stale_if_error", longest=LONG),
    "CACHE_NEGATIVE_TTL": [(text, {"cache_negative_ttl": 0.0}) for text in NONE]
    + durations("cache_negative_ttl", longest=LONG),
    "MAX_OBJECT_SIZE": [
        ("0", {"max_object_size": 0}),
        ("1kB", {"max_object_size": 1000}),
        ("1KB", {"max_object_size": 1000}),
        ("1KiB", {"max_object_size": 1024}),
        ("16MiB", {"max_object_size": 2**24}),
        ("32MB", {"max_object_size": 32 * 10**6}),
        ("512MiB", {"max_object_size": 2**29}),
    ],
    "S3_RETRIES": [("0", {"s3_retries": 0}), ("10", {"s3_retries": 10})],
    "REQUEST_TIMEOUT": durations("request_timeout", longest=DAY),
    "READ_TIMEOUT": durations("read_timeout", longest=DAY),
    "WRITE_TIMEOUT": durations("write_timeout", longest=DAY),
    "IDLE_TIMEOUT": durations("idle_timeout", longest=DAY),
    "RATE_LIMIT_RPS": [
        ("0", {"rate_limit_rps": Fraction(0)}),
        ("0.0", {"rate_limit_rps": Fraction(0)}),
        ("20", {"rate_limit_rps": Fraction(20)}),
        ("0.1", {"rate_limit_rps": Fraction(1, 10)}),
        ("1000000", {"rate_limit_rps": Fraction(10**6)}),
    ],
    "TRUSTED_PROXIES": [
        ("10.0.0.0/8", {"trusted_proxies": (IPv4Network("10.0.0.0/8"),)}),
        ("10.1.2.3", {"trusted_proxies": (IPv4Network("10.1.2.3/32"),)}),
        (
            "10.0.0.0/8, 2001:db8::/32,::1 192.0.2.1",
            {
                "trusted_proxies": (
                    IPv4Network("10.0.0.0/8"),
                    IPv6Network("2001:db8::/32"),
                    IPv6Network("::1/128"),
                    IPv4Network("192.0.2.1/32"),
                )
            },
        ),
        ("::ffff:10.0.0.0/104", {"trusted_proxies": (IPv4Network("10.0.0.0/8"),)}),
        ("0.0.0.0/0", {"trusted_proxies": (IPv4Network("0.0.0.0/0"),)}),
        ("::/0", {"trusted_proxies": (IPv6Network("::/0"),)}),
    ],
    "CLIENT_IP_HEADER": [
        ("X-Real-IP", {"client_ip_header": "x-real-ip"}),
        ("cf-connecting-ip", {"client_ip_header": "cf-connecting-ip"}),
    ],
    "REDIS_URL": [
        ("redis://valkey", {"redis_url": "redis://valkey"}),
        ("redis://valkey:6379/0", {"redis_url": "redis://valkey:6379/0"}),
        ("rediss://u:p%40ss@[::1]:6379/1", {}),
    ],
    "LOG_LEVEL": [
        (text, {"log_level": text}) for text in ("debug", "info", "warning", "error", "critical")
    ]
    + [("INFO", {"log_level": "info"})],
    "LOG_FORMAT": [("json", {"log_format": "json"}), ("text", {"log_format": "text"})],
    "ACCESS_LOG": [(text, {"access_log": True}) for text in ("on", "True", "1", "YES")]
    + [(text, {"access_log": False}) for text in ("off", "False", "0", "no", "OFF")],
    "ADMIN_PREFIX": [
        ("/-", {"admin_prefix": "/-"}),
        ("/_admin/v1.0~x", {"admin_prefix": "/_admin/v1.0~x"}),
    ],
    "DRAIN_TIMEOUT": [(text, {"drain_timeout": 0.0}) for text in NONE]
    + durations("drain_timeout", longest=DAY),
    "S3_MAX_CONCURRENCY": [
        ("1", {"s3_max_concurrency": 1}),
        ("4096", {"s3_max_concurrency": 4096}),
    ],
    "NOSNIFF": [("on", {"nosniff": True}), ("off", {"nosniff": False}), ("No", {"nosniff": False})],
    "WORKER_TIMEOUT": durations("worker_timeout", longest=DAY),
}

# variable -> texts that must be refused
BAD: dict[str, list[str]] = {
    "AUTH_TOKEN": ["1234567", "with a space in it", "tab\tinside-it", "пароль-длинный", "x" * 513],
    "S3_ENDPOINT": [
        "s3.amazonaws.com",
        "ftp://s3.amazonaws.com",
        "https://",
        "https:///path",
        "https://:443",
        "https://h/bucket",
        "https://h//",
        "https://h?",
        "https://h#",
        "https://h?x=1",
        "https://key:secret@h",
        "https://h:0",
        "https://h:65536",
        "https://h:٣",
        "https://h:",
        "https://h:+80",
        "https://h h",
        " https://h",
        "https://h\n",
        "https://-h",
        "https://h_h",
        "https://h..h",
        "https://" + "h" * 64,
        "https://" + "h." * 127 + "h",
        "https://[::1",
        "https://::1",
        "https://[:::1]",
        "https://[1.2.3.4]",
        "https://256.1.1.1",
        "https://bücher.example",
    ],
    "S3_BUCKET": ["ab", "b" * 64, "a/b", "a..b", "...", "a b", "bücher", "abc\n", "a?c", "../abc"],
    "S3_ACCESS_KEY": NO_KEY,
    "S3_SECRET_KEY": NO_KEY,
    "S3_SESSION_TOKEN": NO_KEY,
    "S3_CREDENTIALS": ["iam", "static ", "ſtatic", "none"],
    "S3_REGION": ["eu central", "eu/central", "-eu", "eu-", "12345", "e" * 64, "eu_1", "auto\n"],
    "S3_ADDRESSING_STYLE": ["dns", "path ", "virtual-host"],
    "S3_PREFIX": [
        "/site",
        "/",
        ".",
        "..",
        "a/../b",
        "a/./b",
        "a/..",
        "./a",
        "a\nb",
        "a\x7f",
        "a\x85b",
        "a\0b",
        "\udcff",
        "x" * 513,
        "ü" * 257,
    ],
    "SERVER_ADDR": [
        "8080",
        ":",
        "localhost",
        ":65536",
        ":-1",
        ":+80",
        ":٣",
        "::1:8080",
        "[::1]",
        "[::1:8080",
        "[:::]:80",
        "[127.0.0.1]:80",
        "256.0.0.1:80",
        "http://h:80",
        "h:80/",
        " :80",
        ":80 ",
        "a b:80",
        "*:80",
    ],
    "PORT": ["0", "65536", *NO_INTEGER],
    "WEB_CONCURRENCY": ["0", "1025", "auto", *NO_INTEGER],
    "CACHE_CAPACITY": ["0", "1000000001", *NO_INTEGER],
    "CACHE_MAX_BYTES": ["0", "0MiB", *NO_SIZE],
    "CACHE_TTL": ["596524h", *NO_DURATION],
    "CACHE_STALE_TTL": ["596524h", *NO_DURATION],
    "CACHE_STALE_IF_ERROR": ["596524h", *NO_DURATION],
    "CACHE_NEGATIVE_TTL": ["596524h", *NO_DURATION],
    "MAX_OBJECT_SIZE": NO_SIZE,
    "S3_RETRIES": ["11", *NO_INTEGER],
    "REQUEST_TIMEOUT": ["24h1ms", *NONE, *NO_DURATION],
    "READ_TIMEOUT": ["24h1ms", *NONE, *NO_DURATION],
    "WRITE_TIMEOUT": ["24h1ms", *NONE, *NO_DURATION],
    "IDLE_TIMEOUT": ["24h1ms", *NONE, *NO_DURATION],
    "RATE_LIMIT_RPS": ["1000001", "1.", ".5", "0.5/s", "1/2", "1,5", "inf", "nan"]
    + [text for text in NO_INTEGER if text != "5.0"],
    "TRUSTED_PROXIES": [
        "10.0.0.1/8",
        "10.0.0.0/33",
        "10.0.0.0/255.0.0.0",
        "::/129",
        "10.0.0",
        "localhost",
        "*",
        ",",
        "10.0.0.0/8,",
        "10.0.0.0/8;::1",
        "fe80::1%eth0",
        "١٠.0.0.0/8",
        "1",
    ],
    "CLIENT_IP_HEADER": ["X Real IP", "X-Real-IP:", "x\n", "é", "x" * 65, "a,b"],
    "REDIS_URL": [
        "valkey:6379",
        "http://valkey",
        "redis://",
        "redis:///0",
        "redis://h:0",
        "redis://h:x",
        "redis://h:65536",
        "redis://[::1",
        "redis://h/db",
        "redis://h/0#x",
        "redis://h/0?socket_timeout=abc",
        "redis://h?",
        "redis://:a?b@h/0",
        "redis://h /0",
        "redis://:hunter2hunter2@",
    ],
    "LOG_LEVEL": ["warn", "trace", "20", "info "],
    "LOG_FORMAT": ["logfmt", "json\n"],
    "ACCESS_LOG": ["maybe", "2", "on ", "t"],
    "ADMIN_PREFIX": [
        "/",
        "-",
        "admin",
        "/admin/",
        "//admin",
        "/a b",
        "/a%20b",
        "/a/../b",
        "/.",
        "/ä",
        "/a?b",
        "/" + "a" * 128,
    ],
    "DRAIN_TIMEOUT": ["24h1ms", *NO_DURATION],
    "S3_MAX_CONCURRENCY": ["0", "4097", *NO_INTEGER],
    "NOSNIFF": ["maybe", "nosniff", "on "],
    "WORKER_TIMEOUT": ["24h1ms", *NONE, *NO_DURATION],
}

# rule or warning -> an environment that breaks it
RULES: dict[str, dict[str, str]] = {
    "s3proxy.E101": {**MINIMAL, "CACHE_MAX_BYTES": "8MiB"},
    "s3proxy.E102": {**MINIMAL, "S3_CREDENTIALS": "chain"},
    "s3proxy.E103": {
        **MINIMAL,
        "S3_ACCESS_KEY": "",
        "S3_SECRET_KEY": "",
        "S3_CREDENTIALS": "anonymous",
        "S3_SESSION_TOKEN": "t0ken-of-sts",
    },
}
WARNINGS: dict[str, dict[str, str]] = {
    "s3proxy.W001": {**MINIMAL, "AUTH_TOKEN": "x" * 15},
    "s3proxy.W002": {**MINIMAL, "CACHE_TLL": "5m"},
}
