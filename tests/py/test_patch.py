"""What patching leaves as it was: programs without a server."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable

import pytest
from harness import HERE, Process

Spawn = Callable[..., Process]


def printed(spawn: Spawn, script: str) -> list[str]:
    process = spawn([sys.executable, "-c", script])
    assert process.wait() == 0, process.log
    return process.out.splitlines()


PATCHED = """
import select, selectors, socket, ssl, sys, time, types
from socket import getaddrinfo
early = sys.modules["early"] = types.ModuleType("early")
early.socket = Socket = socket.socket
from meinheld import msocket, patch
"""


def test_importing_patch_patches_nothing_and_imports_no_driver(spawn: Spawn) -> None:
    said = """
print(socket.socket is msocket.socket, ssl.SSLContext.sslsocket_class is ssl.SSLSocket)
print([name for name in ("psycopg", "psycopg2") if name in sys.modules])
"""
    assert printed(spawn, PATCHED + said) == ["False True", "[]"]


def test_patching_replaces_names_wherever_they_were_imported_and_only_once(spawn: Spawn) -> None:
    said = """
patch.patch_all()
before = socket.socket, select.select, select.poll, time.sleep, ssl.SSLContext.sslsocket_class
patch.patch_all()
after = socket.socket, select.select, select.poll, time.sleep, ssl.SSLContext.sslsocket_class
print(before == after, socket.socket is early.socket is msocket.socket)
print(getaddrinfo is socket.getaddrinfo is msocket.getaddrinfo)
print(issubclass(ssl.SSLContext.sslsocket_class, (ssl.SSLSocket, msocket.socket)))
print(type(selectors.PollSelector()._selector) is select.poll)
"""
    assert printed(spawn, PATCHED + said) == ["True True", "True", "True", "True"]


def test_patching_less_replaces_less(spawn: Spawn) -> None:
    said = """
before = select.select, select.poll, time.sleep
patch.patch_all(socket=False, aggressive=False)
print(socket.socket is Socket)
patch.patch_all(aggressive=False)
print(socket.socket is msocket.socket, before == (select.select, select.poll, time.sleep))
patch.patch_socket()
print(select.select is before[0], time.sleep is before[2])
"""
    assert printed(spawn, PATCHED + said) == ["True", "True True", "False True"]


def test_descriptors_that_are_given_away_for_good_are_as_blocking_as_their_sockets(
    spawn: Spawn,
) -> None:
    said = """
import os
patch.patch_all()
for timeout in (None, 0, 1):
    left, right = socket.socketpair()
    left.settimeout(timeout)
    fd = left.detach()
    print(os.get_blocking(fd))
    os.close(fd)
"""
    assert printed(spawn, PATCHED + said) == ["True", "False", "False"]


def test_waiting_for_a_descriptor_by_the_originals_names(spawn: Spawn) -> None:
    said = """
left, right = socket.socketpair()
msocket.wait_write(left.fileno(), 5)
msocket.wait_readwrite(left.fileno())
for given in (), (LookupError("mine"),):
    try:
        msocket.wait_read(left.fileno(), 0.01, *given)
    except (OSError, LookupError) as exc:
        print(type(exc).__module__, type(exc).__name__)
right.send(b"a")
msocket.wait_read(left.fileno())
print(left.recv(1))
"""
    assert printed(spawn, PATCHED + said) == [
        "meinheld._exceptions timeout",
        "builtins LookupError",
        "b'a'",
    ]


# Tests of the standard library's own that fail under patch, and why.
KNOWN = {
    # They look at O_NONBLOCK, which a patched socket always has.
    "NonBlockingTCPTests.testSetBlocking",
    "NonBlockingTCPTests.testSetBlocking_overflow",
    "NonblockConstantTest.test_SOCK_NONBLOCK",
    # It takes a traceback's reference to its argument for a leak, the function being Python's.
    "GeneralModuleTests.testRefCountGetNameInfo",
}
RUN = """
import importlib, sys, unittest
from meinheld import patch
patch.patch_all()
import test.support
module, _, wanted = sys.argv[1].partition(":")
module = importlib.import_module(module)
wanted = {*wanted.split(",")}

def tests(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from tests(test)
        elif {type(test).__name__, ".".join(test.id().split(".")[-2:])} & wanted:
            yield test

all_tests = unittest.defaultTestLoader.loadTestsFromModule(module)
result = unittest.TextTestRunner(verbosity=2).run(unittest.TestSuite(tests(all_tests)))
print("ran", result.testsRun)
for test, _ in result.failures + result.errors:
    print("failed", ".".join(test.id().split(".")[-2:]))
"""
# Classes of tests, and some tests of one that takes long. Without those that want a network, or a
# family of addresses that not every machine has.
TESTS = {
    "test.test_socket": [
        "BasicSocketPairTest",
        "BasicTCPTest",
        "BasicTCPTest2",
        "BasicUDPTest",
        "BufferIOTest",
        "CreateServerTest",
        "FileObjectClassTestCase",
        "GeneralModuleTests",
        "NetworkConnectionAttributesTest",
        "NetworkConnectionBehaviourTest",
        "NetworkConnectionNoServer",
        "NonBlockingTCPTests",
        "NonblockConstantTest",
        "RecvmsgIntoTCPTest",
        "RecvmsgIntoSCMRightsStreamTest",
        "RecvmsgSCMRightsStreamTest",
        "RecvmsgTCPTest",
        "RecvmsgUDPTest",
        "SendfileUsingSendTest",
        "SendmsgTCPTest",
        "SendmsgUDPTest",
        "TCPCloserTest",
        "TCPTimeoutTest",
        "TestExceptions",
        "TestUnixDomain",
        "UDPTimeoutTest",
        "UnbufferedFileObjectClassTestCase",
    ],
    "test.test_ssl": [
        "SimpleBackgroundTests",
        "ThreadedTests.test_handshake_timeout",
        "ThreadedTests.test_no_shared_ciphers",
        "ThreadedTests.test_nonblocking_send",
        "ThreadedTests.test_read_write_after_close_raises_valuerror",
        "ThreadedTests.test_recv_into_buffer_protocol_len",
        "ThreadedTests.test_recv_send",
        "ThreadedTests.test_recv_zero",
        "ThreadedTests.test_sendfile",
        "ThreadedTests.test_server_accept",
        "ThreadedTests.test_socketserver",
        "ThreadedTests.test_starttls",
        "ThreadedTests.test_wrong_cert_tls13",
    ],
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("module", list(TESTS))
def test_the_standard_librarys_own_tests_pass_under_patch(spawn: Spawn, module: str) -> None:
    if importlib.util.find_spec("test") is None or importlib.util.find_spec(module) is None:
        pytest.skip("this Python has not its own tests")
    process = spawn([sys.executable, "-c", RUN, f"{module}:{','.join(TESTS[module])}"], cwd=HERE)
    process.popen.wait(280)
    lines = [line.split() for line in process.out.splitlines()]
    failed = {words[1] for words in lines if words[:1] == ["failed"]}
    assert failed - KNOWN == set(), process.log
    assert [int(words[1]) > 25 for words in lines if words[:1] == ["ran"]] == [True]
