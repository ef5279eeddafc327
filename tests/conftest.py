"""Names the fixtures and session rules that every test shares."""

pytest_plugins = [
    "tests.no_skips",
    # The package first, so that pytest rewrites the assertions in all of it.
    "tests.origins",
    "tests.origins.moto",
    "tests.origins.scripted",
    "tests.origins.seaweed",
    "tests.origins.valkey_site",
    "tests.raw_http",
    "tests.served.process",
]
