"""Owns the directory of private keys: the only module below nodes that touches files; knows no message, no peer, no
clock.

One passphrase opens it once per start: Argon2id unwraps a random master key, and every other file is sealed under a
subkey of the master that is bound to the file's name, so that one file cannot be put in another's place. Files are 0600
in a directory 0700, and anything wider is refused before it is read: a key that others could read is no longer a
secret, and saying so is worth more than going on.

Every write is: a new file beside the old, fsync, rename, fsync of the directory. A crash at any point leaves the old
file or the new one; what it leaves besides (`*.new`) is removed at the next start. Every method returns when what it
did is durable. What belongs together (root and leaf of TLS) is one file.
"""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from keys.certificates import TlsPrivateKey, certificate_pem, encrypted_key_pem, key_from_der, key_to_der
from keys.encoding import Value, decode, encode, take_array, take_bytes, take_int, take_text
from keys.errors import BadKeyError, CannotOpenError, EncodingError, KeyFileError, KeyFileProblem
from keys.foreign import refusals_as
from keys.randomness import random_bytes
from keys.sealing import AtRestKey, ContentKey, EpochKeyPair, derive_key
from keys.signing import SEED_BYTES, NodeKeyPair, RootKeyPair, WitnessKeyPair

MAX_KEY_FILE_BYTES: Final = 65_536
_FORMAT = "tocsin key file"
_VERSION = 1
_MASTER = "master.key"
_ROOT = "root.key"
_WITNESS = "witness.key"
_TLS = "tls.key"
_TLS_LEAF = "tls-leaf.pem"
_NEW = ".new"
_LABEL = re.compile(r"[a-z0-9-]{1,64}", re.ASCII)
_NODE_FILE = re.compile(r"node-([a-z0-9-]{1,64})\.key", re.ASCII)
_EPOCH_FILE = re.compile(r"epoch-([1-9][0-9]{0,18})\.key", re.ASCII)
_SALT_BYTES = 16
_KEY_BYTES = 32
_NONCE_BYTES = 12

_Pair = TypeVar("_Pair")


@dataclass(frozen=True, slots=True)
class PassphraseCost:
    """What one guess of a passphrase costs: Argon2id (RFC 9106) memory in KiB, passes, lanes. Stored in the file."""

    memory_kib: int = 65_536
    iterations: int = 3
    lanes: int = 4


DEFAULT_COST: Final = PassphraseCost()
# A file that asks for more was not written by us, and must not take the machine down before it is found to be forged.
_COST_LIMIT = PassphraseCost(memory_kib=4_194_304, iterations=64, lanes=64)


@dataclass(frozen=True, slots=True)
class TlsKeys:
    """The TLS keys of an agency's gateway: root and leaf, certificates in DER."""

    root_key: TlsPrivateKey
    root_cert: bytes
    leaf_key: TlsPrivateKey
    leaf_cert: bytes

    def __repr__(self) -> str:
        return "TlsKeys(…)"


class KeyStore:
    """An opened directory of keys. Made by `create` or `open`; holds the master key in memory until it is dropped.

    Every method raises KeyFileError: `missing`, `permissions`, `format` (altered, or another file in its place), `io`.
    """

    __slots__ = ("_directory", "_master")

    def __init__(self, directory: Path, master: bytes) -> None:
        self._directory = directory
        self._master = master

    @classmethod
    def create(cls, directory: Path, passphrase: str, cost: PassphraseCost = DEFAULT_COST) -> KeyStore:
        """Make the directory, if it is not there, and a fresh master key in it.

        Raises:
            KeyFileError: `exists`, if there is a keystore already; `passphrase`, if it is empty.
        """
        path = directory / _MASTER
        with _translated(directory):
            directory.mkdir(mode=0o700, exist_ok=True)
            directory.chmod(0o700)  # mkdir's mode passes through the umask, and exist_ok leaves the old one
            _sync_directory(directory.parent)
            if os.path.lexists(path):
                raise KeyFileError(str(path), KeyFileProblem.EXISTS)
        master = random_bytes(_KEY_BYTES)
        _write(path, _sealed_by_passphrase(path, master, passphrase, cost))
        return cls(directory, master)

    @classmethod
    def open(cls, directory: Path, passphrase: str) -> KeyStore:
        """Open it, after looking at the permissions of all that lies in it, and clear what a crash left behind.

        Raises:
            KeyFileError: `missing`, `permissions`, `passphrase` (or the master file was altered: they look the same),
            `format`.
        """
        _check_permissions(directory)
        path = directory / _MASTER
        master = _opened_by_passphrase(path, _read(path), passphrase)
        if len(master) != _KEY_BYTES:
            raise KeyFileError(str(path), KeyFileProblem.FORMAT)
        with _translated(directory):
            for name in os.listdir(directory):
                if name.endswith(_NEW):
                    os.unlink(directory / name)
        return cls(directory, master)

    def at_rest(self) -> AtRestKey:
        """The key of the store's sealed columns. Derived from the master, so that it is never missing."""
        return AtRestKey(self._subkey("at rest", ""))

    # root

    def save_root(self, pair: RootKeyPair) -> None:
        """Keep the root on line, until it is exported."""
        self._save_seeds(_ROOT, pair.seeds)

    def load_root(self) -> RootKeyPair:
        """The root. Raises KeyFileError `missing` once it was exported and removed."""
        return self._load_seeds(_ROOT, RootKeyPair.from_seeds)

    def has_root(self) -> bool:
        """Whether the root lies in this directory: a standing warning, `root_online`."""
        return self._exists(_ROOT)

    def remove_root(self) -> None:
        """Remove it. Not an error if it is gone already: a removal that was interrupted is asked for again."""
        self._remove(_ROOT)

    def export_root(self, path: Path, passphrase: str, cost: PassphraseCost = DEFAULT_COST) -> None:
        """Write the root to a file that stands alone, under its own passphrase, and read it back. It stays here too.

        Raises:
            KeyFileError: `exists`, if there is something at `path`; `io`, if what is read back is not what was written.
        """
        root = self.load_root()
        with _translated(path):
            if os.path.lexists(path):
                raise KeyFileError(str(path), KeyFileProblem.EXISTS)
        _write(path, _sealed_by_passphrase(path, encode(list(root.seeds)), passphrase, cost))
        if self.load_exported_root(path, passphrase).seeds != root.seeds:
            raise KeyFileError(str(path), KeyFileProblem.IO)

    @staticmethod
    def load_exported_root(path: Path, passphrase: str) -> RootKeyPair:
        """The root of a file that `export_root` wrote. Its mode is not looked at: removable media often know none.

        Raises:
            KeyFileError: `missing`, `passphrase`, `format`, `io`.
        """
        plaintext = _opened_by_passphrase(path, _read(path, any_mode=True), passphrase)
        with _format_errors(path):
            return RootKeyPair.from_seeds(*_take_seeds(decode(plaintext, max_bytes=MAX_KEY_FILE_BYTES)))

    # node and witness pairs

    def save_node_pair(self, label: str, pair: NodeKeyPair) -> None:
        """Keep a node pair. Raises EncodingError for a label with more than lower-case letters, digits, hyphens."""
        self._save_seeds(_node_file(label), pair.seeds)

    def load_node_pair(self, label: str) -> NodeKeyPair:
        """The node pair of that label."""
        return self._load_seeds(_node_file(label), NodeKeyPair.from_seeds)

    def list_node_pairs(self) -> list[str]:
        """The labels kept, sorted."""
        return sorted(match[1] for match in self._names(_NODE_FILE))

    def remove_node_pair(self, label: str) -> None:
        """Remove a pair that signs no more. Not an error if it is gone already."""
        self._remove(_node_file(label))

    def save_witness(self, pair: WitnessKeyPair) -> None:
        """Keep the witness pair."""
        self._save_seeds(_WITNESS, pair.seeds)

    def load_witness(self) -> WitnessKeyPair:
        """The witness pair."""
        return self._load_seeds(_WITNESS, WitnessKeyPair.from_seeds)

    # TLS

    def save_tls(self, root_key: TlsPrivateKey, root_cert: bytes, leaf_key: TlsPrivateKey, leaf_cert: bytes) -> None:
        """Keep root and leaf together; a renewed leaf is saved with the root that issued it. Certificates in DER."""
        self._save(_TLS, [key_to_der(root_key), root_cert, key_to_der(leaf_key), leaf_cert])

    def load_tls(self) -> TlsKeys:
        """Root and leaf."""
        path = self._directory / _TLS
        value = self._load(_TLS)
        with _format_errors(path):
            root_key, root_cert, leaf_key, leaf_cert = (take_bytes(field) for field in take_array(value, length=4))
            return TlsKeys(key_from_der(root_key), root_cert, key_from_der(leaf_key), leaf_cert)

    def tls_leaf_files(self) -> tuple[Path, Path, bytes]:
        """(certificate, key, password) for ssl.load_cert_chain, which reads files only.

        Both paths are one file, written anew from what save_tls kept: key and certificate can never be of different
        leaves, whatever crashed. The key in it is encrypted under the password, 256 bits derived from the master.
        """
        tls = self.load_tls()
        password = self._subkey("tls leaf password", "").hex().encode()
        path = self._directory / _TLS_LEAF
        with _format_errors(path):
            content = certificate_pem(tls.leaf_cert) + encrypted_key_pem(tls.leaf_key, password)
        _write(path, content)
        return path, path, password

    # epoch keys

    def save_epoch(self, number: int, pair: EpochKeyPair) -> None:
        """Keep the private half of epoch key `number`. Durable before the key may be published."""
        self._save(_epoch_file(number), [pair.seed])

    def load_epoch(self, number: int) -> EpochKeyPair:
        """The pair of that number. Raises KeyFileError `missing` once it was destroyed."""
        name = _epoch_file(number)
        value = self._load(name)
        with _format_errors(self._directory / name):
            return EpochKeyPair.from_seed(take_bytes(take_array(value, length=1)[0], length=SEED_BYTES))

    def find_epoch(self, number: int) -> EpochKeyPair | None:
        """The pair of that number, None if it is not here."""
        try:
            return self.load_epoch(number)
        except KeyFileError as error:
            if error.problem is KeyFileProblem.MISSING:
                return None
            raise

    def list_epochs(self) -> list[int]:
        """The numbers kept, ascending."""
        return sorted(int(match[1]) for match in self._names(_EPOCH_FILE))

    def destroy_epoch(self, number: int) -> None:
        """Unlink it. When this returns, no crash brings it back. Not an error if it is gone already."""
        self._remove(_epoch_file(number))

    # files

    def _subkey(self, use: str, name: str) -> bytes:
        return derive_key(self._master, encode(["tocsin keystore v1", use, name]))

    def _save_seeds(self, name: str, seeds: tuple[bytes, bytes]) -> None:
        self._save(name, list(seeds))

    def _load_seeds(self, name: str, from_seeds: Callable[[bytes, bytes], _Pair]) -> _Pair:
        value = self._load(name)
        with _format_errors(self._directory / name):
            return from_seeds(*_take_seeds(value))

    def _save(self, name: str, content: Value) -> None:
        key = ContentKey(self._subkey("file", name), b"")
        _write(self._directory / name, encode([_FORMAT, _VERSION, key.seal(encode(content), name.encode())]))

    def _load(self, name: str) -> Value:
        path = self._directory / name
        data = _read(path)
        key = ContentKey(self._subkey("file", name), b"")
        with _format_errors(path):
            fields = take_array(decode(data, max_bytes=MAX_KEY_FILE_BYTES), length=3)
            _check_format(fields[0], fields[1])
            return decode(key.open(take_bytes(fields[2]), name.encode()), max_bytes=MAX_KEY_FILE_BYTES)

    def _exists(self, name: str) -> bool:
        path = self._directory / name
        with _translated(path):
            return os.path.lexists(path)

    def _remove(self, name: str) -> None:
        path = self._directory / name
        with _translated(path):
            with suppress(FileNotFoundError):
                os.unlink(path)
            _sync_directory(self._directory)

    def _names(self, pattern: re.Pattern[str]) -> Iterator[re.Match[str]]:
        with _translated(self._directory):
            names = os.listdir(self._directory)
        return (match for name in names if (match := pattern.fullmatch(name)) is not None)


# --- names and contents -----------------------------------------------------------------------------------------------


def _node_file(label: str) -> str:
    if _LABEL.fullmatch(label) is None:  # a label is part of a path
        raise EncodingError("label")
    return f"node-{label}.key"


def _epoch_file(number: int) -> str:
    return f"epoch-{number}.key"


def _take_seeds(value: Value) -> tuple[bytes, bytes]:
    first, second = take_array(value, length=2)
    return take_bytes(first, length=SEED_BYTES), take_bytes(second, length=SEED_BYTES)


def _check_format(name: Value, version: Value) -> None:
    if take_text(name) != _FORMAT or take_int(version) != _VERSION:
        raise EncodingError("key_file_version")


def _sealed_by_passphrase(path: Path, plaintext: bytes, passphrase: str, cost: PassphraseCost) -> bytes:
    """`[format, version, [memory, passes, lanes], salt, nonce || ciphertext]`; the ciphertext is bound to the rest."""
    salt = random_bytes(_SALT_BYTES)
    fields: list[Value] = [_FORMAT, _VERSION, [cost.memory_kib, cost.iterations, cost.lanes], salt]
    aead = AESGCM(_passphrase_key(path, passphrase, salt, cost))
    nonce = random_bytes(_NONCE_BYTES)
    return encode([*fields, nonce + aead.encrypt(nonce, plaintext, encode(fields))])


def _opened_by_passphrase(path: Path, data: bytes, passphrase: str) -> bytes:
    with _format_errors(path):
        fields = take_array(decode(data, max_bytes=MAX_KEY_FILE_BYTES), length=5)
        _check_format(fields[0], fields[1])
        memory, iterations, lanes = take_array(fields[2], length=3)
        cost = PassphraseCost(
            take_int(memory, _COST_LIMIT.memory_kib),
            take_int(iterations, _COST_LIMIT.iterations),
            take_int(lanes, _COST_LIMIT.lanes),
        )
        salt = take_bytes(fields[3], length=_SALT_BYTES)
        sealed = take_bytes(fields[4])
    aead = AESGCM(_passphrase_key(path, passphrase, salt, cost))
    with refusals_as(KeyFileError(str(path), KeyFileProblem.PASSPHRASE)):
        return aead.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], encode(fields[:4]))


def _passphrase_key(path: Path, passphrase: str, salt: bytes, cost: PassphraseCost) -> bytes:
    if not passphrase:
        raise KeyFileError(str(path), KeyFileProblem.PASSPHRASE)
    # One passphrase typed on two keyboards may differ in how it writes an accent.
    text = unicodedata.normalize("NFC", passphrase).encode("utf-8", "surrogateescape")
    with refusals_as(KeyFileError(str(path), KeyFileProblem.FORMAT)):  # parameters below Argon2's least
        argon = Argon2id(
            salt=salt, length=_KEY_BYTES, iterations=cost.iterations, lanes=cost.lanes, memory_cost=cost.memory_kib
        )
    return argon.derive(text)


# --- the disk ---------------------------------------------------------------------------------------------------------


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """What the operating system says, as KeyFileError."""
    try:
        yield
    except FileNotFoundError as error:
        raise KeyFileError(str(path), KeyFileProblem.MISSING) from error
    except PermissionError as error:
        raise KeyFileError(str(path), KeyFileProblem.PERMISSIONS) from error
    except OSError as error:
        raise KeyFileError(str(path), KeyFileProblem.IO) from error


@contextmanager
def _format_errors(path: Path) -> Iterator[None]:
    """What is wrong with the content of a file, as KeyFileError."""
    try:
        yield
    except (EncodingError, CannotOpenError, BadKeyError) as error:
        raise KeyFileError(str(path), KeyFileProblem.FORMAT) from error


def _read(path: Path, *, any_mode: bool = False) -> bytes:
    with _translated(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "rb") as file:
            # Of the file that is open, not of what may lie at its path by now.
            if not any_mode and os.fstat(descriptor).st_mode & 0o077:
                raise KeyFileError(str(path), KeyFileProblem.PERMISSIONS)
            return file.read(MAX_KEY_FILE_BYTES + 1)  # one more than decoding takes: what is larger is seen to be


def _write(path: Path, data: bytes) -> None:
    """Put `data` at `path`, whole or not at all, durable on return."""
    new = path.with_name(path.name + _NEW)
    with _translated(path):
        try:
            with suppress(FileNotFoundError):
                os.unlink(new)  # left by a crash
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            os.replace(new, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(new)
            raise
        _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    """Until this returns, a crash may undo what was renamed or unlinked in it."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_permissions(directory: Path) -> None:
    with _translated(directory):
        if os.stat(directory).st_mode & 0o077:
            raise KeyFileError(str(directory), KeyFileProblem.PERMISSIONS)
        with os.scandir(directory) as entries:
            for entry in entries:
                mode = entry.stat(follow_symlinks=False).st_mode
                if stat.S_ISREG(mode) and mode & 0o077:
                    raise KeyFileError(entry.path, KeyFileProblem.PERMISSIONS)
