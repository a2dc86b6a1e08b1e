"""Encrypted payloads: keys and their rotation, what was changed is found out, and keys stay secret."""

import os
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from flow_core import ClientCallOperation, Flow, Step
from flow_core.codecs import JsonCodec
from flow_core.codecs.aes import AesGcmCodec
from flow_core.errors import InvalidOption, PayloadError
from flow_core.model.ids import MAX_PAYLOAD
from flow_core.rpc import MemoryRpcClient
from flow_core.rpc.encoded import EncodedRpcClient
from tests.aio import run_virtual
from tests.rpc.contract import RpcContract, Setup

OLD, NEW = bytes(range(32)), bytes(range(32, 64))


@given(st.binary(max_size=1000), st.text(alphabet="abc0-9_.", max_size=20), st.binary(max_size=20))
def test_payloads_go_there_and_back(data, current, associated):
    codec = AesGcmCodec(OLD, current=current, associated=associated)
    sealed = codec.encode(data)
    assert codec.decode(sealed) == data
    assert len(sealed) == len(data) + 30 + len(current)
    if len(data) > 3:
        assert data not in sealed


def test_the_envelope_is_what_the_docstring_says():
    sealed = AesGcmCodec(NEW, current="k2", associated=b"tenant").encode(b"hello")
    assert sealed[:4] == b"\x01\x02k2"
    assert AESGCM(NEW).decrypt(sealed[4:16], sealed[16:], sealed[:4] + b"tenant") == b"hello"


def test_no_nonce_comes_twice():
    codec = AesGcmCodec(OLD)
    assert len({codec.encode(b"")[2:14] for _ in range(1000)}) == 1000


def test_values_are_written_by_another_codec():
    codec = AesGcmCodec(OLD, inner=JsonCodec())
    assert codec.decode(codec.encode({"card": "4111"})) == {"card": "4111"}
    with pytest.raises(PayloadError, match="not JSON"):
        codec.decode(AesGcmCodec(OLD).encode(b"{"))


def test_keys_are_rotated():
    before = AesGcmCodec({"old": OLD}, current="old")
    during = AesGcmCodec({"old": OLD, "new": NEW}, current="old")
    after = AesGcmCodec({"old": OLD, "new": NEW}, current="new")
    end = AesGcmCodec({"new": NEW}, current="new")
    assert after.decode(before.encode(b"1")) == b"1"
    assert during.decode(after.encode(b"2")) == b"2"
    assert end.decode(after.encode(b"3")) == b"3"
    with pytest.raises(PayloadError, match="no key 'old'"):
        end.decode(before.encode(b"4"))


def test_a_callable_gives_the_keys():
    keys = {"a": OLD}
    codec = AesGcmCodec(keys.__getitem__, current="a")
    sealed = codec.encode(b"x")
    keys["b"] = NEW  # a key that came later
    assert codec.decode(AesGcmCodec(NEW, current="b").encode(b"y")) == b"y"
    assert codec.decode(sealed) == b"x"
    del keys["a"]
    with pytest.raises(PayloadError, match="no key 'a'"):
        codec.decode(sealed)
    keys["a"] = b"short"
    with pytest.raises(PayloadError, match="must be 32 bytes, not 5 bytes"):
        codec.encode(b"x")


SEALED = AesGcmCodec(OLD, current="k").encode(b"payload")


@pytest.mark.parametrize("at", range(len(SEALED)))
def test_a_change_of_any_byte_is_found_out(at):
    for flip in (0x01, 0x80):
        changed = bytearray(SEALED)
        changed[at] ^= flip
        with pytest.raises(PayloadError):
            AesGcmCodec(OLD, current="k").decode(bytes(changed))


@pytest.mark.parametrize("length", range(len(SEALED)))
def test_an_envelope_cut_off_anywhere_is_refused(length):
    with pytest.raises(PayloadError):
        AesGcmCodec(OLD, current="k").decode(SEALED[:length])
    with pytest.raises(PayloadError):
        AesGcmCodec(OLD, current="k").decode(SEALED + SEALED[: length + 1])


def test_another_key_or_other_associated_data_is_told_from_an_unknown_key():
    with pytest.raises(PayloadError, match="key 'k' can't be opened"):
        AesGcmCodec(NEW, current="k").decode(SEALED)
    with pytest.raises(PayloadError, match="key 'k' can't be opened"):
        AesGcmCodec(OLD, current="k", associated=b"other tenant").decode(SEALED)
    with pytest.raises(PayloadError, match="no key 'k'"):
        AesGcmCodec(OLD, current="other").decode(SEALED)
    with pytest.raises(PayloadError, match="no encrypted payload of version 1"):
        AesGcmCodec(OLD).decode(b"plain text")


def test_what_is_too_large_is_refused():
    with pytest.raises(PayloadError, match="MAX_PAYLOAD"):
        AesGcmCodec(OLD).encode(bytes(MAX_PAYLOAD))
    most = bytes(MAX_PAYLOAD - 30)
    assert AesGcmCodec(OLD).decode(AesGcmCodec(OLD).encode(most)) == most


@pytest.mark.parametrize(
    ("keys", "options"),
    [
        (b"", {}),
        (b"s3cret-s3cret-s3cret", {}),
        (bytearray(OLD), {}),
        ("s3cret" * 6, {}),
        ({"a": OLD}, {}),
        ({"a": OLD}, {"current": "b"}),
        ({"a": b"s3cret"}, {"current": "a"}),
        ({"a b": OLD}, {"current": "a b"}),
        ({"": OLD, 7: NEW}, {}),
        (OLD, {"current": "ü"}),
        (OLD, {"current": "x" * 256}),
        (None, {}),
    ],
)
def test_keys_that_are_none_are_refused_without_telling_them(keys, options):
    with pytest.raises(InvalidOption) as caught:
        AesGcmCodec(keys, **options)
    assert "s3cret" not in str(caught.value)


def test_nothing_tells_a_key():
    key = b"s3cret-s3cret-s3cret-s3cret-1234"
    codec = AesGcmCodec({"k": key}, current="k")
    with pytest.raises(PayloadError) as caught:
        codec.decode(SEALED)
    client = EncodedRpcClient(MemoryRpcClient(), codec)
    assert "s3cret" not in f"{codec!r} {caught.value!r} {client!r}"
    assert repr(codec) == "AesGcmCodec(current='k', inner=BytesCodec())"


def test_a_missing_library_is_told_with_its_extra():
    script = "import sys; sys.modules['cryptography'] = None; import flow_core.codecs, flow_core.codecs.aes"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert "ImportError: AesGcmCodec needs cryptography: pip install 'flow-core[crypto]'" in ran.stderr


class EncodedSetup(Setup):
    """A client that encrypts, and services that do, too."""

    def run(self, main):
        return run_virtual(main)

    async def client(self):
        self.memory, self.codec = MemoryRpcClient(), Plus(os.urandom(32))
        return EncodedRpcClient(self.memory, self.codec)

    async def serve(self, client, service, endpoint, handler):
        async def sealed(data, headers):
            return self.codec.encode(await handler(self.codec.decode(data), headers))

        self.memory.serve(service, endpoint, sealed)

    async def withdraw(self, client, service, endpoint):
        self.memory.withdraw(service, endpoint)


class Plus(AesGcmCodec):
    """The largest payload of the contract has no room for an envelope: those go as they are."""

    def encode(self, value):
        return value if len(value) > MAX_PAYLOAD - 30 else super().encode(value)

    def decode(self, data):
        return data if len(data) > MAX_PAYLOAD - 30 else super().decode(data)


class TestContract(RpcContract):
    """All promises of ``tests/rpc/contract.py``, through encryption."""

    @pytest.fixture
    def setup(self):
        return EncodedSetup()


def test_steps_see_plain_payloads_and_the_wire_does_not():
    codec = AesGcmCodec(OLD)
    wire = []

    async def charge(data, headers):
        wire.append(data)
        return codec.encode(b'{"paid":"' + codec.decode(data) + b'"}')

    async def main():
        memory = MemoryRpcClient()
        memory.serve("payment", "charge", charge)
        async with Flow(rpc=EncodedRpcClient(memory, codec)) as flow:
            await flow.create_step("pay", Step("pay", ClientCallOperation("payment", "charge")))
            return await flow.call("pay", b"4111-1111")

    assert run_virtual(main()) == b'{"paid":"4111-1111"}'
    assert b"4111" not in wire[0]
