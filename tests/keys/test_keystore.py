"""The directory of private keys: who may read it, what opens it, and what a crash at any point leaves."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.certificates import make_tls_leaf, make_tls_root
from keys.encoding import Value, decode, encode
from keys.errors import CannotOpenError, EncodingError, KeyFileError, KeyFileProblem
from keys.keystore import MAX_KEY_FILE_BYTES, KeyStore, PassphraseCost, TlsKeys
from tests.keys.builders import BKA, DAY_MS, NOW, epoch_pair, node_pair, root_pair, witness_pair

PASSPHRASE = "correct horse battery staple"
CHEAP = PassphraseCost(memory_kib=8, iterations=1, lanes=1)
ROOT_CERT, ROOT_KEY = make_tls_root(BKA, NOW)


def tls_keys(now: int) -> TlsKeys:
    leaf_cert, leaf_key = make_tls_leaf(BKA, ROOT_CERT, ROOT_KEY, now)
    return TlsKeys(ROOT_KEY, ROOT_CERT, leaf_key, leaf_cert)


TLS, RENEWED = tls_keys(NOW), tls_keys(NOW + 90 * DAY_MS)


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return KeyStore.create(tmp_path / "keys", PASSPHRASE, CHEAP)


def reopened(store: KeyStore) -> KeyStore:
    return KeyStore.open(store._directory, PASSPHRASE)


def save_tls(store: KeyStore, tls: TlsKeys) -> None:
    store.save_tls(tls.root_key, tls.root_cert, tls.leaf_key, tls.leaf_cert)


@contextmanager
def problem(expected: KeyFileProblem) -> Iterator[None]:
    with pytest.raises(KeyFileError) as caught:
        yield
    assert caught.value.problem is expected


# what is kept


def test_everything_kept_is_there_after_the_next_start(store: KeyStore) -> None:
    store.save_root(root_pair())
    store.save_node_pair("0011", node_pair("a"))
    store.save_node_pair("2233", node_pair("b"))
    store.save_witness(witness_pair())
    store.save_epoch(1, epoch_pair("1"))
    store.save_epoch(12, epoch_pair("12"))
    save_tls(store, TLS)
    again = reopened(store)
    assert again.has_root()
    assert again.load_root().public == root_pair().public
    assert again.list_node_pairs() == ["0011", "2233"]
    assert again.load_node_pair("2233").public == node_pair("b").public
    assert again.load_witness().public == witness_pair().public
    assert again.list_epochs() == [1, 12]
    assert again.load_epoch(12).public == epoch_pair("12").public
    assert again.load_tls().root_cert == ROOT_CERT
    assert again.load_tls().leaf_cert == TLS.leaf_cert


def test_the_at_rest_key_is_the_same_after_the_next_start_and_another_in_another_store(
    store: KeyStore, tmp_path: Path
) -> None:
    sealed = store.at_rest().seal(b"draft", b"purpose")
    assert reopened(store).at_rest().open(sealed, b"purpose") == b"draft"
    other = KeyStore.create(tmp_path / "other", PASSPHRASE, CHEAP)
    with pytest.raises(CannotOpenError):
        other.at_rest().open(sealed, b"purpose")


def test_what_was_never_kept_is_missing(store: KeyStore) -> None:
    assert not store.has_root()
    assert store.list_node_pairs() == []
    assert store.list_epochs() == []
    assert store.find_epoch(3) is None
    for load in (
        store.load_root,
        store.load_witness,
        store.load_tls,
        store.tls_leaf_files,
        lambda: store.load_node_pair("none"),
        lambda: store.load_epoch(3),
        lambda: store.export_root(store._directory.parent / "root", "other"),
    ):
        with problem(KeyFileProblem.MISSING):
            load()


def test_a_removed_pair_and_a_destroyed_epoch_key_are_gone_for_good_and_can_be_asked_for_again(store: KeyStore) -> None:
    store.save_root(root_pair())
    store.save_node_pair("old", node_pair())
    store.save_epoch(7, epoch_pair())
    for _ in range(2):
        store.remove_root()
        store.remove_node_pair("old")
        store.destroy_epoch(7)
    again = reopened(store)
    assert not again.has_root()
    assert again.list_node_pairs() == []
    assert again.list_epochs() == []
    assert sorted(os.listdir(store._directory)) == ["master.key"]


def test_an_epoch_key_that_cannot_be_read_is_an_error_and_not_an_absent_key(store: KeyStore) -> None:
    store.save_epoch(7, epoch_pair())
    (store._directory / "epoch-7.key").write_bytes(b"broken")
    with problem(KeyFileProblem.FORMAT):
        store.find_epoch(7)


@pytest.mark.parametrize("label", ["", "../x", "A", "a/b", "a.b", "x" * 65, "a\n"])
def test_a_label_that_is_no_plain_word_never_becomes_a_path(store: KeyStore, label: str) -> None:
    for use in (
        lambda: store.save_node_pair(label, node_pair()),
        lambda: store.load_node_pair(label),
        lambda: store.remove_node_pair(label),
    ):
        with pytest.raises(EncodingError) as caught:
            use()
        assert caught.value.rule == "label"


def test_a_keystore_of_another_year_still_opens(tmp_path: Path) -> None:
    """The files were written once by version 1: a label or a layout that changes would lock every agency out."""
    kept = json.loads((Path(__file__).parent / "vectors" / "keystore.json").read_text())
    directory = tmp_path / "keys"
    directory.mkdir(mode=0o700)
    for name, content in kept["files"].items():
        (directory / name).touch(mode=0o600)
        (directory / name).write_bytes(bytes.fromhex(content))
    store = KeyStore.open(directory, kept["passphrase"])
    assert store.load_root().seeds == root_pair().seeds
    assert store.load_node_pair("0011").seeds == node_pair().seeds
    assert store.load_witness().seeds == witness_pair().seeds
    assert store.load_epoch(12).seed == epoch_pair().seed
    assert (store.load_tls().root_cert.hex(), store.load_tls().leaf_cert.hex()) == (kept["tls_root"], kept["tls_leaf"])
    assert store.tls_leaf_files()[2].decode() == kept["tls_leaf_password"]
    assert loaded_leaf(store).hex() == kept["tls_leaf"]
    assert store.at_rest().open(bytes.fromhex(kept["at_rest"]), b"purpose") == b"draft"
    assert store.at_rest().tag(b"purpose", "text").hex() == kept["tag"]
    (tmp_path / "root").write_bytes(bytes.fromhex(kept["exported_root"]))
    assert KeyStore.load_exported_root(tmp_path / "root", kept["root_passphrase"]).seeds == root_pair().seeds


# who may read it


def test_all_that_is_written_is_for_its_owner_only_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store = KeyStore.create(tmp_path / "keys", PASSPHRASE, CHEAP)
        store.save_root(root_pair())
        save_tls(store, TLS)
        store.tls_leaf_files()
        store.export_root(tmp_path / "root", "other", CHEAP)
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(tmp_path / "keys").st_mode) == 0o700
    files = [*(tmp_path / "keys").iterdir(), tmp_path / "root"]
    assert {stat.S_IMODE(os.stat(file).st_mode) for file in files} == {0o600}
    assert len(files) == 5


def test_a_directory_that_was_there_is_closed_to_others(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir(mode=0o755)
    KeyStore.create(tmp_path / "keys", PASSPHRASE, CHEAP)
    assert stat.S_IMODE(os.stat(tmp_path / "keys").st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o666])
def test_a_key_file_open_to_others_is_refused_at_start_and_when_read(store: KeyStore, mode: int) -> None:
    store.save_witness(witness_pair())
    path = store._directory / "witness.key"
    path.chmod(mode)
    with problem(KeyFileProblem.PERMISSIONS):
        reopened(store)
    with problem(KeyFileProblem.PERMISSIONS):
        store.load_witness()


def test_what_the_system_does_not_let_us_read_is_told_as_such(store: KeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.save_witness(witness_pair())

    def denied(*_: object) -> NoReturn:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("keys.keystore.os.open", denied)
    with problem(KeyFileProblem.PERMISSIONS):
        store.load_witness()


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o701, 0o710, 0o711, 0o777])
def test_a_directory_open_to_others_is_refused(store: KeyStore, mode: int) -> None:
    store._directory.chmod(mode)
    with problem(KeyFileProblem.PERMISSIONS):
        reopened(store)


def test_the_error_names_the_file_at_fault(store: KeyStore) -> None:
    store.save_witness(witness_pair())
    path = store._directory / "witness.key"
    path.chmod(0o644)
    with pytest.raises(KeyFileError) as caught:
        reopened(store)
    assert caught.value.path == str(path)


def test_a_link_in_the_place_of_a_key_is_not_followed(store: KeyStore, tmp_path: Path) -> None:
    store.save_witness(witness_pair())
    path = store._directory / "witness.key"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with problem(KeyFileProblem.IO):
        store.load_witness()


def test_a_link_that_lies_beside_the_keys_is_not_looked_through(store: KeyStore, tmp_path: Path) -> None:
    (tmp_path / "open to all").touch(mode=0o644)
    (store._directory / "link").symlink_to(tmp_path / "open to all")
    (store._directory / "nowhere").symlink_to(tmp_path / "nowhere")
    reopened(store)


def test_files_have_the_names_that_other_versions_look_for_and_what_a_crash_left_goes(store: KeyStore) -> None:
    store.save_root(root_pair())
    store.save_node_pair("a", node_pair())
    store.save_witness(witness_pair())
    store.save_epoch(3, epoch_pair())
    save_tls(store, TLS)
    store.tls_leaf_files()
    (store._directory / "epoch-4.key.new").touch(mode=0o600)
    reopened(store)
    names = ["epoch-3.key", "master.key", "node-a.key", "root.key", "tls-leaf.pem", "tls.key", "witness.key"]
    assert sorted(os.listdir(store._directory)) == names


def test_no_descriptor_stays_open(store: KeyStore) -> None:
    before = os.listdir("/dev/fd")
    store.save_epoch(1, epoch_pair())
    store.load_epoch(1)
    store.destroy_epoch(1)
    reopened(store)
    assert len(os.listdir("/dev/fd")) == len(before)


# what opens it


@pytest.mark.parametrize("passphrase", ["", "wrong", PASSPHRASE + " ", PASSPHRASE.upper()])
def test_another_passphrase_opens_nothing(store: KeyStore, passphrase: str) -> None:
    with problem(KeyFileProblem.PASSPHRASE):
        KeyStore.open(store._directory, passphrase)


def test_an_accent_typed_in_another_way_is_the_same_passphrase(tmp_path: Path) -> None:
    KeyStore.create(tmp_path / "keys", "gr\u00fcn", CHEAP)
    KeyStore.open(tmp_path / "keys", "gru\u0308n")


def test_a_passphrase_that_is_no_utf_8_opens_what_it_closed(tmp_path: Path) -> None:
    KeyStore.create(tmp_path / "keys", "gr\udcfcn", CHEAP)
    KeyStore.open(tmp_path / "keys", "gr\udcfcn")
    with problem(KeyFileProblem.PASSPHRASE):
        KeyStore.open(tmp_path / "keys", "gr\udcfdn")


def test_an_exported_root_in_the_place_of_the_master_key_opens_nothing(store: KeyStore, tmp_path: Path) -> None:
    store.save_root(root_pair())
    store.export_root(tmp_path / "root", PASSPHRASE, CHEAP)
    os.replace(tmp_path / "root", store._directory / "master.key")
    with problem(KeyFileProblem.FORMAT):
        reopened(store)


@pytest.mark.parametrize(("at", "value"), [(0, "tocsin other file"), (1, 0), (1, 2)])
@pytest.mark.parametrize("name", ["master.key", "witness.key"])
def test_a_key_file_of_another_kind_or_version_is_told_as_such(
    store: KeyStore, name: str, at: int, value: str | int
) -> None:
    store.save_witness(witness_pair())
    fields = decode((store._directory / name).read_bytes(), max_bytes=MAX_KEY_FILE_BYTES)
    assert isinstance(fields, list)
    fields[at] = value
    (store._directory / name).write_bytes(encode(fields))
    with pytest.raises(KeyFileError) as caught:
        reopened(store).load_witness()
    assert caught.value.problem is KeyFileProblem.FORMAT
    assert isinstance(caught.value.__cause__, EncodingError)
    assert caught.value.__cause__.rule == "key_file_version"


def test_an_empty_passphrase_is_not_taken(tmp_path: Path) -> None:
    with problem(KeyFileProblem.PASSPHRASE):
        KeyStore.create(tmp_path / "keys", "", CHEAP)


def test_a_keystore_is_never_written_over_another(store: KeyStore) -> None:
    with problem(KeyFileProblem.EXISTS):
        KeyStore.create(store._directory, PASSPHRASE, CHEAP)
    reopened(store)


def test_a_directory_without_a_keystore_is_missing(tmp_path: Path) -> None:
    with problem(KeyFileProblem.MISSING):
        KeyStore.open(tmp_path / "nowhere", PASSPHRASE)
    (tmp_path / "keys").mkdir(mode=0o700)
    with problem(KeyFileProblem.MISSING):
        KeyStore.open(tmp_path / "keys", PASSPHRASE)
    with problem(KeyFileProblem.MISSING):
        KeyStore.create(tmp_path / "no" / "parent", PASSPHRASE, CHEAP)


def test_a_guess_costs_what_the_design_says_unless_another_cost_is_asked_for(tmp_path: Path) -> None:
    KeyStore.create(tmp_path / "keys", PASSPHRASE)
    fields = decode((tmp_path / "keys" / "master.key").read_bytes(), max_bytes=MAX_KEY_FILE_BYTES)
    assert isinstance(fields, list)
    assert fields[2] == [64 * 1024, 3, 4]
    KeyStore.open(tmp_path / "keys", PASSPHRASE)


@pytest.mark.parametrize(
    "cost", [[7, 1, 1], [8, 0, 1], [8, 1, 0], [2**40, 1, 1], [8, 2**20, 1], [8, 1, 2**20], [8, 1], 5]
)
def test_a_cost_that_we_never_write_is_not_paid(store: KeyStore, cost: Any) -> None:
    path = store._directory / "master.key"
    fields = decode(path.read_bytes(), max_bytes=MAX_KEY_FILE_BYTES)
    assert isinstance(fields, list)
    path.write_bytes(encode([*fields[:2], cost, *fields[3:]]))
    with problem(KeyFileProblem.FORMAT):
        reopened(store)


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        ([2**22, 64, 64], KeyFileProblem.PASSPHRASE),
        ([2**22 + 1, 64, 64], KeyFileProblem.FORMAT),
        ([2**22, 65, 64], KeyFileProblem.FORMAT),
        ([2**22, 64, 65], KeyFileProblem.FORMAT),
    ],
)
def test_the_highest_cost_that_is_paid_is_4_gib_64_passes_and_64_lanes(
    store: KeyStore, cost: list[Value], expected: KeyFileProblem, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Free:
        """Argon2id for nothing."""

        def __init__(self, **_: object) -> None:
            pass

        def derive(self, text: bytes) -> bytes:
            return bytes(32)

    monkeypatch.setattr("keys.keystore.Argon2id", Free)
    path = store._directory / "master.key"
    fields = decode(path.read_bytes(), max_bytes=MAX_KEY_FILE_BYTES)
    assert isinstance(fields, list)
    path.write_bytes(encode([*fields[:2], cost, *fields[3:]]))
    with problem(expected):
        reopened(store)


def test_a_cheaper_cost_written_into_the_master_file_opens_nothing(tmp_path: Path) -> None:
    KeyStore.create(tmp_path / "keys", PASSPHRASE, PassphraseCost(memory_kib=16, iterations=2, lanes=1))
    path = tmp_path / "keys" / "master.key"
    fields = decode(path.read_bytes(), max_bytes=MAX_KEY_FILE_BYTES)
    assert isinstance(fields, list)
    path.write_bytes(encode([*fields[:2], [8, 1, 1], *fields[3:]]))
    with problem(KeyFileProblem.PASSPHRASE):
        KeyStore.open(tmp_path / "keys", PASSPHRASE)


# what is altered


@given(data=st.data())
@pytest.mark.parametrize("name", ["master.key", "witness.key"])
def test_an_altered_file_is_refused(name: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("altered") / "keys"
    store = KeyStore.create(directory, PASSPHRASE, CHEAP)
    store.save_witness(witness_pair())
    content = bytearray((directory / name).read_bytes())
    match data.draw(st.integers(0, 2)):
        case 0:
            # Not the cost: what raises it within its bounds would be paid for here before it is found to be forged.
            beyond_cost = st.integers(40 if name == "master.key" else 0, len(content) - 1)
            content[data.draw(beyond_cost)] ^= data.draw(st.integers(1, 255))
        case 1:
            del content[data.draw(st.integers(0, len(content) - 1)) :]
        case _:
            content += data.draw(st.binary(min_size=1, max_size=3))
    (directory / name).write_bytes(content)
    with pytest.raises(KeyFileError) as caught:
        KeyStore.open(directory, PASSPHRASE).load_witness()
    assert caught.value.problem in {KeyFileProblem.FORMAT, KeyFileProblem.PASSPHRASE}


def test_one_key_file_does_not_open_in_the_place_of_another(store: KeyStore) -> None:
    store.save_node_pair("thief", node_pair("thief"))
    store.save_node_pair("mine", node_pair("mine"))
    store.save_witness(witness_pair())
    os.replace(store._directory / "node-thief.key", store._directory / "node-mine.key")
    with problem(KeyFileProblem.FORMAT):
        store.load_node_pair("mine")
    os.replace(store._directory / "node-mine.key", store._directory / "witness.key")
    with problem(KeyFileProblem.FORMAT):
        store.load_witness()


def test_a_key_file_of_another_keystore_does_not_open(store: KeyStore, tmp_path: Path) -> None:
    other = KeyStore.create(tmp_path / "other", PASSPHRASE, CHEAP)
    other.save_witness(witness_pair())
    os.replace(tmp_path / "other" / "witness.key", store._directory / "witness.key")
    with problem(KeyFileProblem.FORMAT):
        store.load_witness()


def test_a_file_beyond_the_size_cap_is_refused(store: KeyStore) -> None:
    store.save_witness(witness_pair())
    (store._directory / "witness.key").write_bytes(bytes(MAX_KEY_FILE_BYTES + 1))
    with problem(KeyFileProblem.FORMAT):
        store.load_witness()


def test_a_key_file_may_have_64_kib_and_no_more(store: KeyStore) -> None:
    path = store._directory / "witness.key"
    store._save("witness.key", bytes(60_000))
    content = bytes(60_000 + MAX_KEY_FILE_BYTES - path.stat().st_size)
    store._save("witness.key", content)
    assert path.stat().st_size == MAX_KEY_FILE_BYTES == 65_536
    assert store._load("witness.key") == content
    path.write_bytes(path.read_bytes() + b"\0")
    with problem(KeyFileProblem.FORMAT):
        store._load("witness.key")


def test_no_secret_lies_in_the_directory_in_clear(store: KeyStore, tmp_path: Path) -> None:
    store.save_root(root_pair())
    store.save_node_pair("a", node_pair())
    store.save_witness(witness_pair())
    store.save_epoch(1, epoch_pair())
    save_tls(store, TLS)
    store.tls_leaf_files()
    store.export_root(tmp_path / "root", "other", CHEAP)
    scalar = TLS.leaf_key.private_numbers().private_value.to_bytes(32, "big")
    root_scalar = TLS.root_key.private_numbers().private_value.to_bytes(32, "big")
    secrets = [
        *root_pair().seeds,
        *node_pair().seeds,
        *witness_pair().seeds,
        epoch_pair().seed,
        scalar,
        root_scalar,
        store._master,
        PASSPHRASE.encode(),
    ]
    for file in [*store._directory.iterdir(), tmp_path / "root"]:
        content = file.read_bytes()
        for secret in secrets:
            assert secret not in content
            assert secret.hex().encode() not in content


# the root's own file


def test_an_exported_root_stands_alone_under_its_own_passphrase(store: KeyStore, tmp_path: Path) -> None:
    store.save_root(root_pair())
    store.export_root(tmp_path / "root.tocsin", "another passphrase", CHEAP)
    assert store.has_root()
    store.remove_root()
    again = KeyStore.load_exported_root(tmp_path / "root.tocsin", "another passphrase")
    assert again.public == root_pair().public
    assert sorted(os.listdir(tmp_path)) == ["keys", "root.tocsin"]
    with problem(KeyFileProblem.PASSPHRASE):
        KeyStore.load_exported_root(tmp_path / "root.tocsin", PASSPHRASE)
    with problem(KeyFileProblem.PASSPHRASE):
        store.save_root(root_pair())
        store.export_root(tmp_path / "second", "", CHEAP)


def test_an_exported_root_is_read_from_a_medium_that_knows_no_permissions(store: KeyStore, tmp_path: Path) -> None:
    store.save_root(root_pair())
    store.export_root(tmp_path / "root", "other", CHEAP)
    (tmp_path / "root").chmod(0o777)
    assert KeyStore.load_exported_root(tmp_path / "root", "other").public == root_pair().public


def test_an_export_does_not_write_over_what_is_there(store: KeyStore, tmp_path: Path) -> None:
    store.save_root(root_pair())
    (tmp_path / "root").write_bytes(b"something else")
    with problem(KeyFileProblem.EXISTS):
        store.export_root(tmp_path / "root", "other", CHEAP)
    assert (tmp_path / "root").read_bytes() == b"something else"
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with problem(KeyFileProblem.EXISTS):
        store.export_root(tmp_path / "link", "other", CHEAP)


def test_an_export_that_does_not_read_back_is_not_a_success(
    store: KeyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.save_root(root_pair())
    monkeypatch.setattr(KeyStore, "load_exported_root", staticmethod(lambda *_: root_pair("other")))
    with problem(KeyFileProblem.IO):
        store.export_root(tmp_path / "root", "other", CHEAP)


def test_a_keystore_s_file_is_no_exported_root(store: KeyStore, tmp_path: Path) -> None:
    with problem(KeyFileProblem.FORMAT):
        KeyStore.load_exported_root(store._directory / "master.key", PASSPHRASE)
    with problem(KeyFileProblem.MISSING):
        KeyStore.load_exported_root(tmp_path / "nowhere", PASSPHRASE)


# TLS


def loaded_leaf(store: KeyStore) -> bytes:
    """The leaf that ssl takes from the files, DER; fails if certificate and key are of different leaves."""
    certificate, key, password = store.tls_leaf_files()
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password)
    text = certificate.read_text()
    return ssl.PEM_cert_to_DER_cert(text[: text.index("-----BEGIN ENCRYPTED")])


def test_ssl_loads_the_leaf_that_was_saved_last(store: KeyStore) -> None:
    save_tls(store, TLS)
    assert loaded_leaf(store) == TLS.leaf_cert
    save_tls(store, RENEWED)
    assert loaded_leaf(reopened(store)) == RENEWED.leaf_cert


def test_the_password_of_the_leaf_is_long_and_the_same_after_the_next_start(store: KeyStore) -> None:
    save_tls(store, TLS)
    password = store.tls_leaf_files()[2]
    assert len(password) == 64
    assert reopened(store).tls_leaf_files()[2] == password


def test_the_key_files_of_tls_do_not_print_their_keys(store: KeyStore) -> None:
    save_tls(store, TLS)
    assert "Key object" not in repr(store.load_tls())


# crashes


class PowerCutError(BaseException):
    """The machine is off: nothing that comes after, not even cleaning up, has an effect."""


class Disk:
    """The file system's calls, counted. The cut comes at call number `cut_at`, before it or just after it took effect.

    `lose` makes the cut as bad as POSIX allows: what was not fsynced is not there. A file ends where it ended when it
    was synced, which is at its beginning if it never was, and the renames and unlinks of a directory that was not
    synced have not happened.
    """

    CALLS = ("open", "fsync", "replace", "unlink", "mkdir")

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cut_at: int | None, *, after: bool, lose: bool) -> None:
        self.calls: list[str] = []
        self.off = False
        self._cut_at, self._after, self._lose = cut_at, after, lose
        self._real = {name: getattr(os, name) for name in self.CALLS}
        self._durable: dict[int, int] = {}  # of files written, by inode: how many bytes a sync has reached
        self._undo: list[tuple[int, Callable[[], object]]] = []  # of entries not yet durable, with their directory
        for name in self.CALLS:
            monkeypatch.setattr(f"keys.keystore.os.{name}", self._wrapped(name))

    def _wrapped(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if self.off:
                raise PowerCutError
            self.calls.append(name)
            if self._cut_at == len(self.calls) - 1:
                if self._after:
                    with suppress(OSError):
                        self._do(name, args, kwargs)
                self._cut()
            return self._do(name, args, kwargs)

        return call

    def _do(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        real = self._real[name]
        if name == "replace":
            new, path = args
            old = path.read_bytes() if path.exists() else None
            real(new, path)
            self._not_durable(path, lambda: path.unlink() if old is None else self._put_back(path, old))
            return None
        if name == "unlink":
            (path,) = args
            old = path.read_bytes()  # raises FileNotFoundError as unlink would
            real(path)
            self._not_durable(path, lambda: self._put_back(path, old))
            return None
        if name == "mkdir":
            real(*args, **kwargs)
            self._not_durable(args[0], lambda: shutil.rmtree(args[0]))
            return None
        result = real(*args, **kwargs)
        if name == "open" and args[1] & os.O_CREAT:
            self._durable[os.fstat(result).st_ino] = 0
        if name == "fsync":
            status = os.fstat(args[0])
            self._undo = [(directory, undo) for directory, undo in self._undo if directory != status.st_ino]
            if status.st_ino in self._durable:
                self._durable[status.st_ino] = status.st_size
        return result

    def _not_durable(self, path: Path, undo: Callable[[], object]) -> None:
        self._undo.append((os.stat(path.parent).st_ino, undo))

    def _put_back(self, path: Path, content: bytes) -> None:
        descriptor = self._real["open"](path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)

    def _cut(self) -> NoReturn:
        self.off = True
        raise PowerCutError

    def come_back(self, directory: Path) -> None:
        """What is on the disk when the machine is on again."""
        if self._lose:
            for file in directory.iterdir() if directory.exists() else ():
                if file.is_file() and (length := self._durable.get(os.stat(file).st_ino)) is not None:
                    os.truncate(file, length)
            for _, undo in reversed(self._undo):
                undo()


def first_start(directory: Path) -> KeyStore:
    """A keystore with everything in its old state."""
    store = KeyStore.create(directory, PASSPHRASE, CHEAP)
    store.save_root(root_pair("old"))
    store.save_node_pair("a", node_pair("old"))
    store.save_epoch(1, epoch_pair("old"))
    save_tls(store, TLS)
    store.tls_leaf_files()
    return store


STEPS: dict[str, tuple[Callable[[KeyStore], object], Callable[[KeyStore], object], object, object]] = {
    "replace a node pair": (
        lambda store: store.save_node_pair("a", node_pair("new")),
        lambda store: store.load_node_pair("a").public,
        node_pair("old").public,
        node_pair("new").public,
    ),
    "save a node pair for the first time": (
        lambda store: store.save_node_pair("b", node_pair("new")),
        lambda store: store.list_node_pairs(),
        ["a"],
        ["a", "b"],
    ),
    "replace the root": (
        lambda store: store.save_root(root_pair("new")),
        lambda store: store.load_root().public,
        root_pair("old").public,
        root_pair("new").public,
    ),
    "remove the root": (lambda store: store.remove_root(), lambda store: store.has_root(), True, False),
    "save an epoch key": (
        lambda store: store.save_epoch(2, epoch_pair("new")),
        lambda store: [store.load_epoch(number).public for number in store.list_epochs()],
        [epoch_pair("old").public],
        [epoch_pair("old").public, epoch_pair("new").public],
    ),
    "destroy an epoch key": (lambda store: store.destroy_epoch(1), lambda store: store.list_epochs(), [1], []),
    "renew the TLS leaf": (
        lambda store: save_tls(store, RENEWED),
        loaded_leaf,
        TLS.leaf_cert,
        RENEWED.leaf_cert,
    ),
    "write the leaf for ssl": (lambda store: store.tls_leaf_files(), loaded_leaf, TLS.leaf_cert, TLS.leaf_cert),
}


@pytest.mark.parametrize("lose", [False, True], ids=["nothing written is lost", "all unsynced is lost"])
@pytest.mark.parametrize("after", [False, True], ids=["before the call", "after the call"])
@pytest.mark.parametrize("name", STEPS)
def test_a_power_cut_at_any_call_leaves_the_old_or_the_new_and_after_success_the_new(
    name: str, after: bool, lose: bool, tmp_path: Path
) -> None:
    act, look, old, new = STEPS[name]
    cut_at, finished = 0, False
    seen = []
    while not finished:
        directory = tmp_path / f"cut {cut_at}"
        store = first_start(directory)
        with pytest.MonkeyPatch.context() as patched:
            disk = Disk(patched, cut_at, after=after, lose=lose)
            try:
                act(store)
                finished = True
            except PowerCutError:
                pass
        disk.come_back(directory)
        survivor = KeyStore.open(directory, PASSPHRASE)
        assert not [file for file in os.listdir(directory) if file.endswith(".new")]
        seen.append(look(survivor))
        assert seen[-1] in (old, new)
        act(survivor)  # and the same step, asked for again, succeeds
        assert look(KeyStore.open(directory, PASSPHRASE)) == new
        cut_at += 1
    assert cut_at > 2
    assert seen[-1] == new
    if not after:
        assert seen[0] == old


@pytest.mark.parametrize("lose", [False, True], ids=["nothing written is lost", "all unsynced is lost"])
@pytest.mark.parametrize("after", [False, True], ids=["before the call", "after the call"])
def test_a_power_cut_while_a_keystore_is_made_leaves_none_or_a_whole_one(
    after: bool, lose: bool, tmp_path: Path
) -> None:
    cut_at, finished = 0, False
    while not finished:
        directory = tmp_path / f"cut {cut_at}"
        with pytest.MonkeyPatch.context() as patched:
            disk = Disk(patched, cut_at, after=after, lose=lose)
            try:
                KeyStore.create(directory, PASSPHRASE, CHEAP)
                finished = True
            except PowerCutError:
                pass
        disk.come_back(directory)
        if not (directory / "master.key").exists():
            assert not finished
            KeyStore.create(directory, PASSPHRASE, CHEAP)
        KeyStore.open(directory, PASSPHRASE)
        cut_at += 1


@pytest.mark.parametrize("lose", [False, True], ids=["nothing written is lost", "all unsynced is lost"])
@pytest.mark.parametrize("after", [False, True], ids=["before the call", "after the call"])
def test_a_power_cut_while_the_root_is_exported_leaves_it_here_and_there_nothing_or_all(
    after: bool, lose: bool, tmp_path: Path
) -> None:
    cut_at, finished = 0, False
    while not finished:
        directory, stick = tmp_path / f"keys {cut_at}", tmp_path / f"stick {cut_at}"
        stick.mkdir()
        store = first_start(directory)
        with pytest.MonkeyPatch.context() as patched:
            disk = Disk(patched, cut_at, after=after, lose=lose)
            try:
                store.export_root(stick / "root", "other", CHEAP)
                finished = True
            except PowerCutError:
                pass
        disk.come_back(stick)
        assert reopened(store).has_root()
        if finished or (stick / "root").exists():
            assert KeyStore.load_exported_root(stick / "root", "other").public == root_pair("old").public
        else:
            store.export_root(stick / "root", "other", CHEAP)
        cut_at += 1


@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
@pytest.mark.parametrize("name", ["replace a node pair", "save an epoch key", "renew the TLS leaf"])
def test_a_disk_that_fails_is_reported_and_leaves_the_old_or_the_new(
    name: str, call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    act, look, old, new = STEPS[name]
    store = first_start(tmp_path / "keys")

    def full(*args: object, **kwargs: object) -> NoReturn:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(f"keys.keystore.os.{call}", full)
        with problem(KeyFileProblem.IO):
            act(store)
    assert not [file for file in os.listdir(tmp_path / "keys") if file.endswith(".new")]
    assert look(KeyStore.open(tmp_path / "keys", PASSPHRASE)) in (old, new)


def test_success_is_said_only_after_the_file_and_then_its_directory_are_synced(
    store: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        disk = Disk(patched, None, after=False, lose=False)
        store.save_epoch(1, epoch_pair())
    assert disk.calls == ["unlink", "open", "fsync", "replace", "open", "fsync"]
    with monkeypatch.context() as patched:
        disk = Disk(patched, None, after=False, lose=False)
        store.destroy_epoch(1)
    assert disk.calls == ["unlink", "open", "fsync"]
