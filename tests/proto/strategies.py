"""Hypothesis strategies for steps and all that they hold."""

import string

from hypothesis import strategies as st

from flow_core.model.options import OperationOptions, Retry
from flow_core.model.step import ALL, REQUEST, Fallback, Step
from flow_core.operations import (
    ClientCallOperation,
    ClientPublishOperation,
    EmptyOperation,
    FlowExecuteOperation,
    LocalOperation,
)

ids = st.text(string.ascii_letters + string.digits + "._:-", min_size=1, max_size=12)
addresses = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1, max_size=12)
texts = st.text(st.characters(codec="utf-8"), max_size=12)
durations = st.floats(1e-9, 1e9)
counts = st.integers(0, 2**64 - 1)
names = st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=12), max_size=3).map(tuple)

retries = st.builds(
    Retry,
    counts,
    initial=st.just(0) | durations,
    factor=st.floats(1, 1e9),
    max=durations,
    jitter=st.sampled_from(("full", "none")),
    retry_on=names,
    give_up_on=names,
)
json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
options = st.builds(
    OperationOptions,
    timeout=st.none() | durations,
    retries=st.none() | counts | retries,
    allow_fail=st.sampled_from((None, True, False)),
    context=st.dictionaries(texts, json, max_size=3),
)


async def work(value):
    """What decoding must not need: a local operation travels by name."""
    return value


operations = st.one_of(
    st.builds(ClientCallOperation, addresses, addresses, options=options),
    st.builds(ClientPublishOperation, addresses, reply=st.booleans(), confirm=st.booleans(), options=options),
    st.builds(FlowExecuteOperation, ids, st.none() | ids, options=options),
    st.builds(EmptyOperation, texts, options=options),
    st.builds(LocalOperation, st.just(work), name=texts, options=options),
)
outputs = ids | st.just(REQUEST)
orders = st.lists(ids | st.just(ALL) | st.just("all"), max_size=4)

steps = st.builds(
    Step,
    ids | st.just("all"),
    operations,
    retry=st.none() | counts | retries,
    timeout=st.none() | durations,
    total_timeout=st.none() | durations,
    input=st.none() | outputs | st.dictionaries(texts, outputs, min_size=1, max_size=3),
    output=st.none() | ids,
    after=orders,
    before=orders,
    fallback=st.none() | st.builds(Fallback, operations, st.sampled_from(("continue", "fail"))),
    compensation=st.none() | operations,
    allow_fail=st.sampled_from((None, True, False)),
    when=st.none() | ids,
    join=st.sampled_from(("all", "any", "done")),
    manual=st.booleans(),
    delivery=st.sampled_from(("at_least_once", "at_most_once")),
)
