"""Black-box control of real networks through the `lowu` command."""

import json
import os
import signal
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import psutil

from lowu.consensus.invariants import BlockFact
from tests.command import run_command

ROOT = Path(__file__).resolve().parents[2]


def lowu(*arguments, check=True, cwd=None, timeout=120):
    """Run `lowu` and return the finished process."""
    done = run_command(arguments, cwd, timeout)
    if check and done.returncode != 0:
        raise AssertionError(f"lowu {arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def lowu_json(*arguments, **options):
    """Run `lowu … --json` and return its object."""
    return json.loads(lowu(*arguments, "--json", **options).stdout)


def rpc(url, method, *params):
    """Call a method; return the whole response object."""
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
    return post(url, json.dumps(body).encode())


def post(url, body):
    """Post bytes; return the JSON answer."""
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.loads(answer.read())


def wait_until(is_true, what, seconds=30):
    """Poll until something holds."""
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def height_of(url):
    """Return the number of blocks that a node has committed."""
    return int(rpc(url, "eth_blockNumber")["result"], 16)


def links_of(url):
    """Return the number of nodes that a node is linked to."""
    return int(rpc(url, "net_peerCount")["result"], 16)


def wait_until_level(urls):
    """Wait until every node has all blocks that any node has now.

    A block that one node reports as committed can be read at another node only after this: like
    every command, `lowu up` returns once the nodes that it asked have the block.
    """
    height = max(height_of(url) for url in urls)
    for url in urls:
        wait_until(lambda url=url: height_of(url) >= height, f"{url} has block {height}")


def processes_of(directory):
    """Return the supervisor of a network folder and its nodes.

    A supervisor keeps its lock open; a node works in its own folder.
    """
    directory = directory.resolve()
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            places = [process.cwd(), *(file.path for file in process.open_files())]
            if any(directory in Path(place).parents for place in places):
                found.append(process)
    return found


class Network:
    """A test's network, in its own folder.

    Once it is created, all running nodes are linked to each other and have the block of `up`.
    """

    def __init__(self, directory, network="dev-4", settings=()):
        self.directory = Path(directory)
        options = [part for setting in settings for part in ("--set", setting)]
        self.up_result = lowu_json("up", network, *options, "--dir", directory)
        self.nodes = self.up_result["nodes"]
        self.wait_until_level()

    def wait_until_level(self):
        """Wait until all running nodes are linked and have all blocks that any of them has."""
        urls = [node["url"] for node in self.status() if node["pid"] is not None]
        for url in urls:
            wait_until(lambda url=url: links_of(url) >= len(urls) - 1, f"{url} is linked to all")
        wait_until_level(urls)

    @property
    def url(self):
        return self.nodes[0]["url"]

    @property
    def chain_id(self):
        return lowu_json("env", "--dir", self.directory)["chain_id"]

    def status(self):
        return lowu_json("status", "--dir", self.directory)["nodes"]

    def order(self, what, node):
        return lowu_json(what, node, "--dir", self.directory)

    def heights(self):
        return [node.get("height") for node in self.status()]

    def chains(self):
        """Return every node's own account of its blocks, for `check_agreement`."""
        return {node["name"]: list(self._chain(node["url"])) for node in self.nodes}

    def _chain(self, url):
        for number in range(int(rpc(url, "eth_blockNumber")["result"], 16) + 1):
            block = rpc(url, "eth_getBlockByNumber", hex(number), False)["result"]
            names = ("hash", "parentHash", "stateRoot", "receiptsRoot")
            yield BlockFact(number, *(bytes.fromhex(block[name][2:]) for name in names))

    def log(self, node):
        return (self.directory / "127.0.0.1" / node / "log" / "node.log").read_text()

    def close(self):
        lowu("down", "--dir", self.directory, check=False)
        for process in processes_of(self.directory):
            os.kill(process.pid, signal.SIGKILL)
