"""proxy.cache.lru does what a naive list of entries does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.cache.lru import LRU
from tests.cache.lru_model import Model

KEYS = st.sampled_from(["", "a", "b", "c", "d/e", "\u00e9", "\N{SNOWMAN}"])
STEPS = st.one_of(
    st.tuples(st.just("put"), KEYS, st.integers(0, 99), st.integers(0, 1500)),
    st.tuples(st.sampled_from(["get", "peek", "pop"]), KEYS),
    st.tuples(st.just("clear")),
)


@given(
    max_entries=st.integers(1, 6),
    max_bytes=st.integers(300, 4000),
    steps=st.lists(STEPS, max_size=60),
)
def test_every_history_ends_as_in_the_model(
    max_entries: int, max_bytes: int, steps: list[tuple[object, ...]]
) -> None:
    lru: LRU[int] = LRU(max_entries, max_bytes)
    model = Model(max_entries, max_bytes)
    for name, *args in steps:
        assert getattr(lru, str(name))(*args) == getattr(model, str(name))(*args)
        assert lru.items() == [slot[:2] for slot in model.slots]
        assert (len(lru), lru.bytes) == (len(model.slots), model.bytes)
        assert lru.evictions == model.evictions
        assert lru.bytes <= max_bytes
