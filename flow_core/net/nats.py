"""`NatsConnection`: what rpc and pubsub need of a NATS server: send, send and know, ask, subscribe.

nats-py's own reconnecting is off: it keeps messages back in silence and lets waits for answers run into their timeouts.
`Connection` connects again instead, and waits end at once when a connection is lost. All answers come to one inbox per
client (subscription ``_INBOX.<random>.>``), each on a subject of its own below it; nothing is subscribed per message.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from flow_core.errors import AuthError, FlowError, PayloadError, Permanent, Unavailable
from flow_core.net.address import Address
from flow_core.net.connection import Connection

__all__ = ["ACK", "NOBODY", "NatsConnection", "NatsSubscription", "asks_for_reply", "is_nobody"]

#: Seconds between pings, and how many may stay unanswered: a peer that vanished is noticed after half a minute.
PING: Final = 10
PINGS: Final = 2
#: Bytes that nats-py collects before a publish waits until they are sent, and those at which we refuse more.
PENDING: Final = 4 << 20
MAX_PENDING: Final = 64 << 20
#: Longest command line of the protocol, bytes.
MAX_LINE: Final = 4096
#: Kinds of subjects below the inbox. Those that are sent along as reply subjects, but ask nobody for a reply, say so.
CONFIRM: Final = "flow-confirm"
ACK: Final = "flow-ack"
NOBODY: Final = "flow-nobody"
ECHO: Final = "flow-echo"
STATUS: Final = "Status"
NO_RESPONDERS: Final = "503"

_NO_QUESTION: Final = frozenset({ACK, CONFIRM, NOBODY})
_PART: Final = r"[^\s.*>\x00-\x1f\x7f]+"
_SUBJECT: Final = re.compile(rf"{_PART}(\.{_PART})*").fullmatch
_PATTERN: Final = re.compile(rf"({_PART}|\*)(\.({_PART}|\*))*(\.>)?|>").fullmatch
_HEADER: Final = re.compile(r"[!-9;-~]+").fullmatch
_DENIED: Final = re.compile(r"permissions violation for (publish|subscription) to \"?([^\"]*)", re.IGNORECASE)


@dataclass(slots=True, eq=False)
class NatsSubscription:
    """A subscription that is made again on every new connection. ``callback`` gets nats-py's messages."""

    subject: str
    queue: str
    callback: Callable[[Any], Awaitable[None]]
    live: Any = None


@dataclass(slots=True, eq=False)
class _Wait:
    """A caller that waits for the server's answer about ``subject``."""

    subject: str
    future: asyncio.Future[Any]


class NatsConnection:
    """One client's connection to NATS, made when first needed.

    Args:
        url: ``nats://user:password@host:port``, also ``tls://``; more servers after commas.
        owner: class of the client, for errors.
        tls: an ``ssl.SSLContext``.
        credentials: path of a ``.creds`` file.
        timeout: seconds that connecting may take.

    Attributes:
        inbox: subject below which answers come.
        on_answer: called with messages below the inbox that nobody waits for here.
        on_lost: called with the reason when the connection is lost.

    Raises:
        InvalidOption: the URL will not do.
        ImportError: nats-py is missing.
    """

    def __init__(
        self, url: str, owner: str, *, tls: Any = None, credentials: str | None = None, timeout: float = 5.0
    ) -> None:
        self.address = Address(url, ("nats", "tls"), owner, several=True)
        try:
            import nats.aio.client
            import nats.errors
        except ImportError as error:
            raise ImportError(f"{owner} needs nats-py: pip install 'flow-core[nats]'") from error
        if credentials is not None:
            try:
                import nkeys  # noqa: F401 - nats-py imports it when it connects
            except ImportError as error:
                raise ImportError(f"{owner} needs nkeys for credentials: pip install nkeys") from error
        self._factory = nats.aio.client.Client
        self._errors = nats.errors
        self._options = {"tls": tls, "user_credentials": credentials}
        self._timeout = timeout
        self._connection: Connection[Any] = Connection(
            self.address.shown, self._connect, self._disconnect, timeout=timeout
        )
        self._listeners: set[NatsSubscription] = set()
        self._leaving: set[asyncio.Task[None]] = set()
        self._waits: dict[str, _Wait] = {}
        self._numbers = itertools.count()
        self.inbox = f"_INBOX.{secrets.token_hex(11)}"
        self.on_answer: Callable[[Any], None] = _ignore
        self.on_lost: Callable[[str], None] = _ignore

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._connection.current is not None

    async def send(self, subject: str, data: bytes, headers: Mapping[str, str], reply: str = "") -> None:
        """Hand a message to the connection. Nothing is known about what becomes of it."""
        check_subject(subject)
        await self._put(await self._connection.get(), subject, data, headers, reply)

    async def confirm(self, subject: str, data: bytes, headers: Mapping[str, str], reply: str | None = None) -> bool:
        """Send a message; once the server has taken it, return whether it knows somebody who listens.

        NATS itself confirms nothing. But it answers at once when nobody listens to a message with a reply subject, and
        it keeps the order of what one connection sends: an empty message to our own inbox right behind it comes back
        after that answer, if there is one.

        Raises:
            Unavailable: there is no connection, or it was lost: then the server may have taken the message, or not.
            AuthError: the server does not let this user publish to ``subject``.
            PayloadError: larger than the server's ``max_payload``.
            Permanent: ``subject`` or a header can't be sent.
        """
        check_subject(subject)
        connection = await self._connection.get()
        back, echo = reply or self.fresh(CONFIRM), self.fresh(ECHO)
        with self._wait(subject, back, echo) as future:
            await self._put(connection, subject, data, headers, back)
            await self._put(connection, echo, b"", {}, "")
            return not is_nobody(await future)

    async def ask(self, subject: str, data: bytes, headers: Mapping[str, str], back: str) -> Any:
        """Send a message and return the first answer, which comes to ``back``, a new subject below the inbox.

        None: nobody listens. Raises like `confirm`.
        """
        check_subject(subject)
        connection = await self._connection.get()
        with self._wait(subject, back) as future:
            await self._put(connection, subject, data, headers, back)
            message = await future
        return None if is_nobody(message) else message

    def fresh(self, kind: str) -> str:
        """A new subject below the inbox."""
        return f"{self.inbox}.{kind}.{next(self._numbers)}"

    async def subscribe(self, listener: NatsSubscription) -> None:
        """Let messages come to ``listener``, on this connection and all later ones. Raises like `confirm`."""
        if not _PATTERN(listener.subject):
            raise Permanent(f"{listener.subject!r:.80} is no subject of NATS", fix="use tokens with dots between them")
        connection = await self._connection.get()
        self._listeners.add(listener)
        try:
            if listener.live is None or listener.live[0] is not connection:  # else reconnecting was quicker
                await self._listen(connection, listener)
                echo = self.fresh(ECHO)
                with self._wait(listener.subject, echo) as future:  # until the server knows
                    await self._put(connection, echo, b"", {}, "")
                    await future
        except BaseException:
            await self.unsubscribe(listener)
            raise
        self._connection.keep(True)

    async def unsubscribe(self, listener: NatsSubscription) -> None:
        """The server sends ``listener`` nothing more; what it has sent before that still comes. Else no effect.

        Who leaves a group must take what was given to it, or the one who sent it waits for nothing.
        """
        self._listeners.discard(listener)
        if not self._listeners:
            self._connection.keep(False)
        live, listener.live = listener.live, None
        if live is not None and live[0] is self._connection.current:
            with contextlib.suppress(self._errors.Error, FlowError):  # no connection: no subscription either
                await self._leave(live[0], live[1], listener.subject)

    async def _leave(self, connection: Any, subscription: Any, subject: str) -> None:
        # Not the library's own drain alone: its PING overtakes the UNSUB, and what is sent in between is lost.
        await connection._send_unsubscribe(subscription._id)
        echo = self.fresh(ECHO)
        with self._wait(subject, echo) as future:
            await self._put(connection, echo, b"", {}, "")
            await future
        # In a task: it waits for callbacks under way, and one of them may be who asks for this.
        leaving = asyncio.get_running_loop().create_task(subscription.drain())
        self._leaving.add(leaving)
        leaving.add_done_callback(self._left)

    def _left(self, leaving: asyncio.Task[None]) -> None:
        self._leaving.discard(leaving)
        if not leaving.cancelled():
            leaving.exception()  # seen: the connection went away meanwhile

    async def close(self) -> None:
        """Disconnect and end every wait with `Unavailable`."""
        self._fail(f"{self.address}: the client was closed")
        for leaving in self._leaving:
            leaving.cancel()
        await self._connection.close()

    # --- inner ------------------------------------------------------------------------------------------------------

    async def _connect(self) -> Any:
        try:
            return await self._attempt(verbose=False)
        except (ConnectionError, self._errors.UnexpectedEOF, self._errors.ConnectionClosedError) as error:
            first = self._refused(error)
            if isinstance(error, ConnectionRefusedError):
                raise first from first.__cause__
        except (OSError, self._errors.Error) as error:
            refusal = self._refused(error)
            raise refusal from refusal.__cause__
        # A server that refuses our user closes the connection, often before nats-py has read why. Asked to answer every
        # command it says so first.
        try:
            await (await self._attempt(verbose=True)).close()
        except (OSError, self._errors.Error) as error:
            first = self._refused(error)
        raise first from first.__cause__

    async def _attempt(self, verbose: bool) -> Any:
        """A connection with all subscriptions made. Raises the library's own reason."""
        client = self._factory()
        troubles: list[Exception] = []

        async def failed(error: Exception) -> None:
            troubles.append(error)
            self._denied(str(error))

        async def closed() -> None:
            self._lost(client, self.address.hide(troubles[-1] if troubles else "closed by the server"))

        try:
            await client.connect(
                list(self.address.urls),
                name="flow-core",
                verbose=verbose,
                allow_reconnect=False,
                reconnect_time_wait=0,  # between the attempts of a first connect, which go on without allow_reconnect
                max_reconnect_attempts=1,
                connect_timeout=self._timeout,
                ping_interval=PING,
                max_outstanding_pings=PINGS,
                pending_size=PENDING,
                error_cb=failed,
                closed_cb=closed,
                **{key: value for key, value in self._options.items() if value is not None},
            )
            await client.subscribe(f"{self.inbox}.>", cb=self._answered)
            for listener in tuple(self._listeners):
                await self._listen(client, listener)
            if client.is_closed:
                raise self._errors.ConnectionClosedError
        except BaseException as error:
            with contextlib.suppress(Exception):
                await client.close()
            if isinstance(error, Exception) and troubles:
                raise troubles[-1] from None
            raise
        return client

    def _refused(self, error: Exception) -> FlowError:
        text = self.address.hide(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
        if "authorization" in text.lower() or "authentication" in text.lower():
            refusal: FlowError = AuthError(f"{self.address} refuses this user", fix="check user and password")
        else:
            refusal = Unavailable(text)
        refusal.__cause__ = self.address.cause(error)
        return refusal

    async def _disconnect(self, client: Any) -> None:
        await client.close()

    async def _listen(self, connection: Any, listener: NatsSubscription) -> None:
        live = await connection.subscribe(listener.subject, queue=listener.queue, cb=listener.callback)
        listener.live = (connection, live)

    async def _put(self, connection: Any, subject: str, data: bytes, headers: Mapping[str, str], reply: str) -> None:
        size = len(data)
        if headers:
            size += 12 + sum(len(name) + len(value.encode()) + 4 for name, value in _sendable(headers))
        if size > connection.max_payload:
            raise PayloadError(
                f"message to {subject!r} is {size} bytes with its headers, the server takes {connection.max_payload}",
                fix="raise max_payload of nats-server",
            )
        waiting = connection.pending_data_size
        if waiting > MAX_PENDING:
            raise Unavailable(f"{self.address} takes no data: {waiting} bytes wait to be sent")
        try:
            work = connection.publish(subject, data, reply, headers=dict(headers) if headers else None)
            if waiting + size + 2 * MAX_LINE < PENDING:
                await work  # never suspends
            else:  # nats-py waits for the socket, and swallows a cancellation meanwhile
                await asyncio.shield(asyncio.ensure_future(work))
        except (self._errors.ConnectionClosedError, self._errors.OutboundBufferLimitError, OSError) as error:
            self._lost(connection, type(error).__name__)
            raise Unavailable(f"no connection to {self.address}: it was lost") from error

    async def _answered(self, message: Any) -> None:
        wait = self._waits.get(message.subject)
        if wait is not None and not wait.future.done():
            wait.future.set_result(message)
        self.on_answer(message)

    @contextlib.contextmanager
    def _wait(self, subject: str, *answers: str) -> Iterator[asyncio.Future[Any]]:
        """A future for the first message on any of the subjects ``answers``, all of them below the inbox."""
        wait = _Wait(subject, asyncio.get_running_loop().create_future())
        for answer in answers:
            self._waits[answer] = wait
        try:
            yield wait.future
        finally:
            for answer in answers:
                self._waits.pop(answer, None)
            if not wait.future.cancel() and not wait.future.cancelled():
                wait.future.exception()  # seen, even if the one who waited was cancelled in the same moment

    def _denied(self, text: str) -> None:
        """The server speaks about a subject in lower case, and not about a message: all that wait for it fail."""
        found = _DENIED.search(text)
        if found is None:
            return
        denied = found[2].lower()
        for answer, wait in self._waits.items():
            if denied in (wait.subject.lower(), answer.lower()) and not wait.future.done():
                inbox = denied.startswith(self.inbox.lower())
                wait.future.set_exception(
                    AuthError(
                        f"{self.address} allows this user no {found[1]} to {wait.subject!r}",
                        fix="let it publish to its inbox, _INBOX.>" if inbox else None,
                    )
                )

    def _lost(self, connection: Any, reason: str) -> None:
        if connection is not self._connection.current:
            return
        self._connection.lost(connection, reason)
        text = f"connection to {self.address} lost ({reason}); what was on its way may have arrived"
        self._fail(text)
        self.on_lost(text)

    def _fail(self, text: str) -> None:
        for wait in self._waits.values():
            if not wait.future.done():
                wait.future.set_exception(Unavailable(text))


def check_subject(subject: str) -> None:
    """Raise `Permanent` when nothing can be published to ``subject``."""
    if not _SUBJECT(subject):
        raise Permanent(
            f"{subject!r:.80} is no subject to publish to", fix="use tokens with dots between them, no spaces * >"
        )


def is_nobody(message: Any) -> bool:
    """Whether this is the server's answer that nobody listens."""
    return not message.data and bool(message.headers) and message.headers.get(STATUS) == NO_RESPONDERS


def asks_for_reply(reply: str) -> bool:
    """Whether the reply subject of a message asks those who listen; ours may only ask the server."""
    return bool(reply) and _NO_QUESTION.isdisjoint(reply.split(".")[2:3])


def _sendable(headers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, value in headers.items():
        if not _HEADER(name) or "\r" in value or "\n" in value:
            raise Permanent(f"header {name!r:.80} can't be sent over NATS", fix="no line breaks, no spaces in names")
        yield name, value


def _ignore(_: Any) -> None:
    pass
