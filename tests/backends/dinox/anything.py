"""JSON of any shape, as a service might send it."""

from hypothesis import strategies as st

numbers = st.integers() | st.floats()
anything = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
boxes = st.lists(numbers, min_size=4, max_size=4)
