"""A real Slurm cluster on this machine: a controller and two nodes, each with its own processes, network and name.

A node is a set of kernel namespaces behind a bridge, so that killing its first process is the end of a machine. What is
simulated is the machine; Slurm's daemons and commands are the installed ones. Needs root.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

COMMANDS = ("slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel", "ip", "unshare", "setpriv")
NODES = ("node1", "node2")

_CONFIGURATION = """\
ClusterName=test
SlurmctldHost=head({network}.1)
SlurmctldPort={port}
SlurmdPort={other_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/none
CredType=cred/none
MailProg=/bin/true
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/controller.pid
SlurmdPidFile={folder}/%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
SlurmdTimeout=10
KillWait=5
MinJobAge=3600
{nodes}
PartitionName=usual Nodes=ALL Default=YES State=UP GraceTime=40
PartitionName=urgent Nodes=ALL State=UP PriorityTier=10 PreemptMode=OFF
"""
_NODE = """\
set -e
mount --make-rprivate /
hostname "$1"
mount --bind "$3/hosts" /etc/hosts
ip link set lo up
until ip link show eth0 > /dev/null 2>&1; do sleep 0.05; done
ip address add "$2/24" dev eth0
ip link set eth0 up
exec slurmd -D -f "$3/slurm.conf" -N "$1"
"""


def why_not() -> str | None:
    """Why this machine cannot hold such a cluster; None where it can."""
    if os.geteuid() != 0:
        return "a Slurm cluster of namespaces needs root"
    missing = [command for command in COMMANDS if shutil.which(command) is None]
    if missing:
        return f"{', '.join(missing)} not found: apt-get install slurm-wlm iproute2 util-linux"
    probe = ["unshare", "--net", "--uts", "--mount", "--pid", "--fork", "--mount-proc", "true"]
    if subprocess.run(probe, capture_output=True, check=False).returncode != 0:
        return "this machine forms no namespaces"
    return None


class SlurmCluster:
    """The running cluster; a context manager. `environment` leads Slurm's commands to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
        number = os.getpid() % 250
        self._network, self._bridge = f"10.77.{number}", f"slurm{number}"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        nodes = [f"NodeName={name} NodeAddr={self._address(name)} CPUs=2 RealMemory=2000" for name in NODES]
        hosts = [f"{self._network}.1 head", *(f"{self._address(name)} {name}" for name in NODES)]
        (folder / "state").mkdir(parents=True)
        (folder / "hosts").write_text("\n".join(["127.0.0.1 localhost", *hosts]) + "\n")
        ports = {"port": 30000 + number, "other_port": 30300 + number}
        (folder / "slurm.conf").write_text(
            _CONFIGURATION.format(network=self._network, folder=folder, nodes="\n".join(nodes), **ports)
        )

    def __enter__(self) -> "SlurmCluster":
        try:
            self._delete_bridge()  # of a test that was killed
            self._ip("link", "add", self._bridge, "type", "bridge")
            self._ip("address", "add", f"{self._network}.1/24", "dev", self._bridge)
            self._ip("link", "set", self._bridge, "up")
            self._start(
                "head", "--uts", "sh", "-c", 'hostname head && exec slurmctld -D -f "$1"', "sh", self._configuration
            )
            for name in NODES:
                self.start_node(name)
            self.until_idle()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()
        self._delete_bridge()

    def until_idle(self) -> None:
        """Until every node is there and nothing runs on it, or has yet to end."""
        self.until(lambda: set(self.command("sinfo", "-h", "-o", "%T").split()) == {"idle"}, "idle nodes")

    def start_node(self, name: str) -> None:
        """Start a node, or one that was killed anew."""
        own = ("--net", "--uts", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child")
        process = self._start(name, *own, "bash", "-c", _NODE, "bash", name, self._address(name), str(self.folder))
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        self.until(lambda: bool(children.read_text()), name)
        port = f"{self._bridge}-{name[-1]}"
        self._ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", children.read_text().split()[0])
        self._ip("link", "set", port, "master", self._bridge, "up")

    def kill_node(self, name: str) -> None:
        """End a node and all of its processes at once, as a machine that loses its power."""
        process = self._processes[name]
        process.send_signal(signal.SIGKILL)
        process.wait()

    def command(self, *words: str, **options: object) -> str:
        """What one of Slurm's commands says."""
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return str(done.stdout)

    def job(self, number: str) -> dict[str, str]:
        """What the controller knows of a job."""
        words = self.command("scontrol", "--oneliner", "show", "job", number).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def until(self, is_so: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
        """Wait for something; an AssertionError with the daemons' words where it takes too long."""
        deadline = time.monotonic() + seconds
        while not is_so():
            told = "".join(f"{path}:\n{path.read_text()[-2000:]}" for path in self.folder.glob("*.said"))
            assert time.monotonic() < deadline, f"no {what} after {seconds:g} s\n{told}"
            time.sleep(0.1)

    @property
    def _configuration(self) -> str:
        return str(self.folder / "slurm.conf")

    def _address(self, name: str) -> str:
        return f"{self._network}.1{name[-1]}"

    def _start(self, name: str, *words: str) -> "subprocess.Popen[bytes]":
        with (self.folder / f"{name}.said").open("a") as said:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "unshare", *words],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        self._processes[name] = process
        return process

    def _delete_bridge(self) -> None:
        subprocess.run(["ip", "link", "delete", self._bridge], capture_output=True, check=False)

    def _ip(self, *words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True)
