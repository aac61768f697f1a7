"""Replay the traced changes of a server's files up to any moment, as a disk may have them after a power cut there.

A disk may lose each change that no fsync made durable, in any combination: names of a folder until the folder is
synced, the content of a file until the file is. Only what POSIX promises is kept; ext4 keeps more.
"""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_CALLS = (
    *("open", "openat", "creat", "write", "pwrite64", "writev", "ftruncate", "copy_file_range", "sendfile"),
    *("sendto", "sendmsg", "fsync", "fdatasync", "rename", "renameat", "renameat2", "link", "linkat"),
    *("symlink", "symlinkat", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "truncate"),
)
FLAGS = ("-f", "-qq", "-yy", "-s", "200000", "--seccomp-bpf", "-e", "signal=none", "-e", f"trace={','.join(_CALLS)}")
_LINE = re.compile(r"^(\d+) +(.*)$")
_CALL = re.compile(r"^(\w+)\((.*)\) += (-?\d+)(?:<.*>)?(?: \(.*\))?(?: E\w+ .*)?$", re.DOTALL)
_TOKEN = re.compile(
    r'"(?P<quoted>(?:[^"\\]|\\.)*)"|(?:AT_FDCWD|-?\d+)<(?P<path>(?:->|[^<>\\]|\\.|<[^<>]*>)*)>|(?P<other>[^,"<>]+)'
)
_ANSWER = re.compile(r"TCP(?:v6)?:\[.*->\[?[^\]]*\]?:(\d+)\]")


@dataclass(eq=False)
class Node:
    """A file or folder: what programs see, and what an fsync made durable (None: never)."""

    content: bytearray = field(default_factory=bytearray)
    durable: bytes = b""
    names: dict[str, Node] | None = None
    kept: dict[str, Node] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Way:
    """What is lost of that which is not durable: whether a name is kept, and the share of a content that is."""

    has_name: Callable[[], bool]
    share: Callable[[], float]


@dataclass(frozen=True, kw_only=True)
class Event:
    """A system call that succeeded, with its arguments: texts, descriptors' paths, and others as they are printed."""

    call: str
    texts: tuple[bytes, ...]
    paths: tuple[str, ...]
    others: tuple[str, ...]
    result: int

    @property
    def answers(self) -> int | None:
        """Return the client's port if it is the beginning of an answer with status 200."""
        if self.call not in ("sendto", "sendmsg", "write", "writev") or not self.paths:
            return None
        socket = _ANSWER.fullmatch(self.paths[0])
        return int(socket[1]) if socket and any(text.startswith(b"HTTP/1.1 200") for text in self.texts) else None


def parse(log: Path) -> Iterator[Event]:
    """Yield the calls in the order in which they ended, but answers in that in which they began."""
    begun: dict[str, str] = {}
    for line in log.read_text(encoding="latin-1").splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        thread, text = match.groups()
        if text.endswith(" <unfinished ...>"):
            begun[thread] = text.removesuffix(" <unfinished ...>")
            if (event := _event(begun[thread] + ") = 1")) and event.answers:
                yield event
            continue
        if resumed := re.match(r"^<\.\.\. \w+ resumed>", text):
            text = begun.pop(thread, "") + text[resumed.end() :]
            if (event := _event(text)) and event.answers:
                continue
        if event := _event(text):
            yield event


def _event(text: str) -> Event | None:
    call = _CALL.match(text)
    if call is None or int(call[3]) < 0:
        return None
    texts, paths, others = [], [], []
    for token in _TOKEN.finditer(call[2]):
        quoted, path, other = token["quoted"], token["path"], token["other"]
        if quoted is not None:
            texts.append(ast.literal_eval(f'b"{quoted}"'))
        elif path is not None:
            paths.append(path)
        elif other.strip():
            others.append(other.strip())
    return Event(call=call[1], texts=tuple(texts), paths=tuple(paths), others=tuple(others), result=int(call[3]))


class Disk:
    """The files below `root`, as they are after the events that were applied."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self.top = Node(names={})

    def apply(self, event: Event) -> bool:
        """Apply an event, and return whether it may have changed what a power cut leaves."""
        apply = getattr(self, f"_{event.call}", None)
        return apply is not None and apply(event) is not False

    def crashed(self, way: Way, folder: Path) -> None:
        """Write the files into `folder`, as a power cut may leave them."""
        _write(self.top, folder, way)

    # the system calls

    def _openat(self, event: Event) -> bool:
        if not any("O_CREAT" in other for other in event.others) or not event.texts:
            if any("O_TRUNC" in other for other in event.others) and (node := self._at(event)):
                node.content.clear()
            return False
        parent, name = self._place(self._path(event, 0))
        if parent is not None and name not in _of(parent):
            _of(parent)[name] = Node()
        return False

    def _write(self, event: Event) -> bool:
        if node := self._find(event.paths[0]) if event.paths else None:
            node.content += b"".join(event.texts)
        return False

    _writev = _write

    def _pwrite64(self, event: Event) -> bool:
        if node := self._find(event.paths[0]):
            offset = int(event.others[-1])
            node.content[offset : offset + len(event.texts[0])] = event.texts[0]
        return False

    def _ftruncate(self, event: Event) -> bool:
        if node := self._find(event.paths[0]):
            size = int(event.others[-1])
            node.content[:] = bytes(node.content[:size]).ljust(size, b"\0")
        return False

    def _fsync(self, event: Event) -> bool:
        node = self._find(event.paths[0])
        if node is None:
            return False
        if node.names is not None:
            node.kept = dict(node.names)
        else:
            node.durable = bytes(node.content)
        return True

    _fdatasync = _fsync

    def _mkdir(self, event: Event) -> bool:
        parent, name = self._place(self._path(event, 0))
        if parent is not None:
            _of(parent).setdefault(name, Node(names={}))
        return parent is not None

    _mkdirat = _mkdir

    def _unlink(self, event: Event) -> bool:
        parent, name = self._place(self._path(event, 0))
        return parent is not None and _of(parent).pop(name, None) is not None

    _unlinkat = _rmdir = _unlink

    def _rename(self, event: Event) -> bool:
        (old, name), (new, other) = (self._place(self._path(event, number)) for number in (0, 1))
        if old is None or new is None or name not in _of(old):
            return False
        moved = _of(old).pop(name)
        if any("RENAME_EXCHANGE" in each for each in event.others):
            _of(old)[name] = _of(new)[other]
        _of(new)[other] = moved
        return True

    _renameat = _renameat2 = _rename

    def _link(self, event: Event) -> bool:
        source = self._find(self._path(event, 0))
        new, name = self._place(self._path(event, 1))
        if source is None or new is None:
            return False
        _of(new)[name] = source
        return True

    _linkat = _link

    # paths

    def _path(self, event: Event, number: int) -> str:
        path = event.texts[number].decode()
        if path.startswith("/proc/self/fd/"):
            raise AssertionError(f"{event} names a file by its descriptor")
        folders = event.paths if event.call.endswith(("at", "at2")) else ()
        return path if path.startswith("/") or number >= len(folders) else f"{folders[number]}/{path}"

    def _at(self, event: Event) -> Node | None:
        return self._find(self._path(event, 0))

    def _place(self, path: str) -> tuple[Node | None, str]:
        above, _, name = path.rpartition("/")
        parent = self._find(above)
        return (parent if parent is not None and parent.names is not None else None), name

    def _find(self, path: str) -> Node | None:
        if path == self._root:
            return self.top
        if not path.startswith(self._root + "/"):
            return None
        node: Node | None = self.top
        for name in path.removeprefix(self._root + "/").split("/"):
            node = _of(node).get(name) if node is not None and node.names is not None else None
        return node


def _of(node: Node) -> dict[str, Node]:
    assert node.names is not None
    return node.names


def _write(node: Node, path: Path, way: Way) -> None:
    if node.names is None:
        content = bytes(node.content)
        if content != node.durable:
            share = way.share()
            content = content[: int(len(content) * share)] if share else node.durable
        path.write_bytes(content)
        return
    path.mkdir()
    for name in sorted(node.kept.keys() | node.names.keys()):
        kept, newer = node.kept.get(name), node.names.get(name)
        chosen = newer if kept is newer or way.has_name() else kept
        if chosen is not None:
            _write(chosen, path / name, way)


def ways(mixtures: int, seed: int) -> Sequence[Way]:
    """Return the ways in which changes get lost: all; all but names; half of each content; none; and mixtures."""

    def always(has_name: bool, share: float) -> Way:
        return Way(has_name=lambda: has_name, share=lambda: share)

    def mixture(number: int) -> Way:
        chance = random.Random(f"{seed}-{number}")
        return Way(has_name=lambda: chance.random() < 0.5, share=lambda: chance.choice((0.0, 0.5, 1.0)))

    simple = (always(False, 0.0), always(True, 0.0), always(True, 0.5), always(True, 1.0))
    return [*simple, *(mixture(number) for number in range(mixtures))]
