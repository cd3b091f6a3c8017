"""Signed notes, held against those of Go's sumdb and of C2SP: the same bytes, and nothing that is not quite one."""

from base64 import b64decode, b64encode

import pytest
from hypothesis import given as hypothesis_given
from hypothesis import strategies as st

from projections.proofs.notes import SigningKey, SigningKeyUnfit, sign
from projections.proofs.verify_statement import Checkpoint, Fault, Kind, VerifierKey, open_note

# From golang.org/x/mod, sumdb/note/note_test.go.
PETER = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
PETERS = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
SAID = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
SIGNED = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
NOTE = f"{SAID}\n— PeterNeumann {SIGNED}\n"

# The example of the package signed-note.
FOO = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
FOOS_NOTE = (
    "This is an example message.\n\n"
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)

KEY = SigningKey("shop.example/ledger", bytes(range(32)))
OTHER = SigningKey("shop.example/ledger", bytes(32))
PETERS_KEY = VerifierKey.parse(PETERS)


def test_a_note_is_signed_as_go_signs_it() -> None:
    key = SigningKey.parse(PETER)
    assert sign(SAID, key) == NOTE
    assert (str(key.verifier), key.to_text()) == (PETERS, PETER)


@pytest.mark.parametrize(("key", "note"), [(PETERS, NOTE), (FOO, FOOS_NOTE)])
def test_what_others_signed_is_opened(key: str, note: str) -> None:
    text, signed = open_note(note, [VerifierKey.parse(key)])
    assert note.startswith(text + "\n") and [str(one) for one in signed] == [key]


def test_a_signature_of_somebody_unknown_is_passed_over() -> None:
    note = sign("hello\n", OTHER, KEY)
    assert open_note(note, [KEY.verifier]) == ("hello\n", [KEY.verifier])
    assert open_note(note, [KEY.verifier, OTHER.verifier])[1] == [OTHER.verifier, KEY.verifier]


def test_a_key_that_signed_twice_signed_once() -> None:
    note = sign("hello\n", KEY, KEY)
    assert open_note(note, [KEY.verifier]) == ("hello\n", [KEY.verifier])


def test_a_note_that_no_known_key_signed_is_refused() -> None:
    with pytest.raises(Fault) as raised:
        open_note(NOTE, [KEY.verifier])
    assert raised.value.kind is Kind.WRONG_KEY


def test_one_wrong_signature_of_a_known_key_spoils_the_note() -> None:
    forged = sign("hello\n", KEY) + sign("bye\n", OTHER).partition("\n\n")[2]
    with pytest.raises(Fault):
        open_note(forged, [KEY.verifier, OTHER.verifier])


@pytest.mark.parametrize(
    "note",
    [
        "",
        "\n\n",
        SAID,
        SAID + "\n",
        NOTE[:-1],
        NOTE + "\n",
        NOTE.replace("\n\n", "\n"),
        NOTE.replace("answer", "question"),
        NOTE.replace("— ", "-- "),
        NOTE.replace("— ", "—"),
        NOTE.replace("PeterNeumann", "Peter Neumann"),
        NOTE.replace("x08g", "x0 8g"),
        NOTE.replace("nAM=", "nAN="),
        NOTE.replace("problem,\n", "problem,\r\n"),
        NOTE.replace("then", "th\x00en"),
        NOTE.replace("then", "th\ud800en"),
        NOTE + "— PeterNeumann AAAA\n",
        NOTE + f"— PeterNeumann+ {SIGNED}\n",
        SAID + "\n" + f"— PeterNeumann {SIGNED}\n" * 65,
    ],
)
def test_what_is_not_quite_a_note_is_refused(note: str) -> None:
    with pytest.raises(Fault):
        open_note(note, [PETERS_KEY])


@hypothesis_given(st.integers(0, len(NOTE.encode()) - 1), st.integers(1, 255))
def test_no_byte_of_a_note_can_change(at: int, by: int) -> None:
    changed = bytearray(NOTE.encode())
    changed[at] ^= by
    try:
        text, _ = open_note(changed.decode(errors="surrogateescape"), [PETERS_KEY])
    except Fault:
        return
    raise AssertionError(f"it was opened: {text}")


@hypothesis_given(st.text())
def test_any_text_is_a_note_or_a_fault(text: str) -> None:
    with pytest.raises(Fault):
        open_note(text, [PETERS_KEY])


@pytest.mark.parametrize(
    "key",
    [
        "",
        "PeterNeumann",
        PETERS.replace("c74f20a3", "c74f20a4"),
        PETERS.replace("c74f20a3", "C74F20A3"),
        PETERS.replace("Peter", "Petra"),
        PETERS[:-4],
        f"PeterNeumann+c74f20a3+{b64encode(b'!' + b64decode(PETERS.split('+', 2)[2])[1:]).decode()}",
        PETER,
    ],
)
def test_what_is_no_public_key_is_refused(key: str) -> None:
    with pytest.raises(Fault) as raised:
        VerifierKey.parse(key)
    assert raised.value.kind is Kind.WRONG_KEY


@pytest.mark.parametrize("text", ["", "PRIVATE+KEY+", PETERS, PETER.replace("c74f20a3", "00000000"), PETER[:-8], "é"])
def test_what_is_no_signing_key_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(SigningKeyUnfit) as raised:
        SigningKey.parse(text)
    assert str(raised.value) == "this is not a signing key" and repr(KEY.seed) not in repr(KEY)


def test_a_checkpoint_is_three_lines() -> None:
    checkpoint = Checkpoint(
        "example.com/behind-the-sofa", 20852163, b64decode("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=")
    )
    text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    assert str(checkpoint) == text
    assert Checkpoint.parse(text) == Checkpoint.parse(text + "an extension\n") == checkpoint


@pytest.mark.parametrize(
    "text",
    [
        "",
        "o\n1\n",
        "o\n01\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "o\n-1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "o\n٣\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        f"o\n{'9' * 5000}\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "o\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2==\n",
        "o\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=",
        "\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "o\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n",
    ],
)
def test_what_is_not_quite_a_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(Fault) as raised:
        Checkpoint.parse(text)
    assert raised.value.kind is Kind.CHECKPOINT
