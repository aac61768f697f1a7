"""The state of a provisioned host: services, permissions, and what a compromised service could reach."""

from __future__ import annotations

import json
import os
import re
import textwrap
from collections.abc import Callable

import pytest
import testinfra
from support.deployed import Deployed, eventually
from support.wheels import wheel
from testinfra.host import Host as Machine

from testbed.hosts import ssh_options

# user, group, mode
OWNERS_AND_MODES = {
    "/srv/ppm": ("ppm", "www-data", 0o750),
    "/srv/ppm/credentials": ("ppm", "www-data", 0o2750),
    "/srv/ppm/credentials/htpasswd": ("ppm", "www-data", 0o640),
    "/srv/ppm/credentials/nginx": ("ppm", "www-data", 0o2750),
    "/srv/ppm/credentials/nginx/00": ("ppm", "www-data", 0o640),
    "/srv/ppm/credentials/access.yml": ("ppm", "www-data", 0o640),
    "/srv/ppm/first-credential": ("ppm", "ppm", 0o600),
    "/srv/ppm/netrc": ("ppm", "ppm", 0o600),
    "/srv/ppm/audit.jsonl": ("ppm", "ppm", 0o640),
    "/srv/ppm/bodies": ("www-data", "root", 0o700),
    "/srv/ppm/packages": ("ppm", "ppm", 0o755),
    "/srv/ppm/index": ("ppm", "ppm", 0o755),
    "/run/ppm/ppm.sock": ("ppm", "www-data", 0o660),
    "/etc/ppm/ppm.env": ("root", "root", 0o644),
    "/etc/letsencrypt/accounts": ("root", "root", 0o700),
    "/etc/letsencrypt/archive": ("root", "root", 0o700),
    "/opt/ppm/releases": ("root", "root", 0o755),
    "/usr/local/bin/ppmctl": ("root", "root", 0o755),
    "/var/log/nginx/access.log": ("www-data", "adm", 0o640),
    "/var/log/nginx/ppm": ("root", "ppm", 0o2751),
}

KEY = "/etc/ppm/tls/privkey.pem"

# Actions of a compromised service; all but the last, which is its work, have to fail.
PROBE = """
    import ctypes, json, mmap, os, socket, stat

    def write(path):
        open(path + "/probe", "w").close()
        os.unlink(path + "/probe")

    def setuid_file():
        open("/srv/ppm/probe", "w").close()
        try:
            os.chmod("/srv/ppm/probe", 0o4755)
        finally:
            os.unlink("/srv/ppm/probe")

    def unshare(flag):
        if ctypes.CDLL(None, use_errno=True).unshare(flag):
            raise OSError(ctypes.get_errno(), "unshare")

    def see(pid):
        open(f"/proc/{pid}/status").close()

    def interfaces():
        names = {line.split(":")[0].strip() for line in open("/proc/self/net/dev") if ":" in line}
        assert names - {"lo"}

    tries = {
        "an internet socket": lambda: socket.socket(socket.AF_INET),
        "an IPv6 socket": lambda: socket.socket(socket.AF_INET6),
        "a packet socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
        "a netlink socket": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
        "a network interface": interfaces,
        "a name": lambda: socket.getaddrinfo("acme.test", 80),
        "write /etc": lambda: write("/etc"),
        "write /usr/local": lambda: write("/usr/local"),
        "write its own release": lambda: write("/opt/ppm/current/venv/bin"),
        "write /var/lib": lambda: write("/var/lib"),
        "write /run": lambda: write("/run"),
        "read the certificate's key": lambda: open("/etc/ppm/tls/privkey.pem").close(),
        "read /etc/shadow": lambda: open("/etc/shadow").close(),
        "read bodies": lambda: os.listdir("/srv/ppm/bodies"),
        "read /root": lambda: os.listdir("/root/.ssh"),
        "read /home": lambda: os.listdir("/home/admin"),
        "read a disk": lambda: open("/dev/vda").close(),
        "see others' processes": lambda: see(1),
        "become root": lambda: os.setuid(0),
        "a setuid file": setuid_file,
        "a user namespace": lambda: unshare(0x10000000),
        "a mount namespace": lambda: unshare(0x20000),
        "writable code": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC),
        "its volume": lambda: write("/srv/ppm/packages"),
    }
    done = []
    for name, attempt in tries.items():
        try:
            attempt()
        except (OSError, AssertionError):
            continue
        done.append(name)
    print(json.dumps([done, len(tries)]))
"""


@pytest.fixture(scope="module", params=[13, 12], ids=["debian13", "debian12"])
def index(request: pytest.FixtureRequest, deployed: Callable[[int], Deployed]) -> Deployed:
    made: Deployed = deployed(request.param)
    assert made.upload(wheel("state", "1.0")).status_code in (200, 409)
    return made


@pytest.fixture
def machine(index: Deployed) -> Machine:
    """Return the host for testinfra: over SSH, as an administrator."""
    host = index.host
    control = f"-o ControlMaster=auto -o ControlPersist=60 -o ControlPath=/tmp/ppm-state-{host.box.id[:12]}"
    made: Machine = testinfra.get_host(
        f"ssh://{host.user}@{host.address}",
        ssh_identity_file=str(host.key),
        ssh_extra_args=f"{' '.join(ssh_options())} {control}",
        sudo=host.user != "root",
    )
    return made


def listening(machine: Machine, protocol: str) -> set[int]:
    """Return the ports with listeners, without the engine's DNS on 127.0.0.11."""
    state = "0A" if protocol == "tcp" else "07"
    lines = machine.check_output(f"cat /proc/net/{protocol} /proc/net/{protocol}6").splitlines()
    fields = [line.split() for line in lines if not line.strip().startswith("sl")]
    return {int(each[1].rpartition(":")[2], 16) for each in fields if each[3] == state and "0B00007F" not in each[1]}


def test_only_ssh_http_and_https_are_open(machine: Machine) -> None:
    assert listening(machine, "tcp") == {22, 80, 443}
    assert listening(machine, "udp") == set()


def test_owner_group_and_mode_of_files(machine: Machine) -> None:
    lines = machine.check_output(
        f"stat -c '%n %U %G %a' {' '.join(OWNERS_AND_MODES)}; stat -Lc 'key %U %G %a' {KEY}"
    ).splitlines()
    actual = {path: (user, group, int(mode, 8)) for path, user, group, mode in map(str.split, lines)}
    assert actual == OWNERS_AND_MODES | {"key": ("root", "root", 0o600)}


def test_nothing_is_world_writable(machine: Machine) -> None:
    where = "/srv/ppm /opt/ppm /etc/ppm /etc/nginx /etc/letsencrypt /etc/systemd/system /usr/local/bin /var/lib/ppm"
    assert machine.check_output(f"find {where} -perm -o+w ! -type l") == ""
    assert machine.check_output("find /opt/ppm ! -user root") == ""
    assert machine.check_output("find /srv/ppm -type f -perm /111") == ""
    nginx_reads = "/srv/ppm/credentials /srv/ppm/credentials/nginx"  # setgid: new files get nginx's group
    but = " ".join(f"! -path {path}" for path in nginx_reads.split())
    assert machine.check_output(f"find /srv/ppm /opt/ppm -perm /6000 {but}") == ""


def test_the_application_has_its_own_user(machine: Machine) -> None:
    user = machine.user("ppm")
    assert (user.shell, user.groups, user.password) == ("/usr/sbin/nologin", ["ppm"], "!")
    assert user.uid < 1000
    assert machine.user("www-data").groups == ["www-data"]


def test_only_needed_services_run(machine: Machine) -> None:
    units = machine.check_output(
        "systemctl list-units --type=service,socket --state=running,listening --plain --no-legend"
    )
    named = {line.split()[0] for line in units.splitlines()}
    assert {name for name in named if not name.startswith(("systemd-", "dbus", "ssh", "user@", "initctl"))} == {
        *("nginx.service", "nginx.socket", "ppm.service", "ppm.socket")
    }
    timers = ("ppm-prune.timer", "ppm-count.timer", "certbot.timer")
    for name in ("nginx", "nginx.socket", "ppm", "ppm.socket", *timers):
        assert machine.service(name).is_enabled, name
        assert machine.service(name).is_running, name
    assert machine.check_output("systemctl --failed --no-legend") == ""
    packages = machine.check_output("dpkg-query -W -f '${Package}\\n'").splitlines()
    needless = re.compile(
        r"gcc(-\d+)?|g\+\+.*|make|.*-dev|apache2|exim4.*|postfix|cron|rsyslog|curl|wget|git|python3-pip"
    )
    assert [name for name in packages if needless.fullmatch(name)] == []


def test_the_web_server_never_waits_in_accept(machine: Machine) -> None:
    """A worker that loses a connection to another one would wait for the next one, and serve nobody meanwhile."""
    command = "cd /proc/$(systemctl show -p MainPID --value nginx.service)/fdinfo && grep -h '^flags' 3 4"
    flags = [int(line.split()[1], 8) for line in machine.check_output(command).splitlines()]
    assert [flag & os.O_NONBLOCK for flag in flags] == [os.O_NONBLOCK] * 2


def test_limits_and_restart_settings_of_the_units(machine: Machine) -> None:
    wanted = {
        "ppm.service": {
            "MemoryMax": str(1 << 30),
            "TasksMax": "128",
            "StartLimitIntervalUSec": "0",
            "Restart": "always",
            "WatchdogUSec": "1min",
            "User": "ppm",
            "NoNewPrivileges": "yes",
        },
        "ppm.socket": {"TriggerLimitIntervalUSec": "0", "Backlog": "4096"},
        "nginx.socket": {"TriggerLimitIntervalUSec": "0", "Backlog": "4096", "BindIPv6Only": "ipv6-only"},
        "nginx.service": {"TimeoutStopUSec": "1min 35s", "StartLimitIntervalUSec": "0", "Restart": "on-failure"},
    }
    for unit, properties in wanted.items():
        output = machine.check_output(f"systemctl show {' '.join(f'-p {name}' for name in properties)} {unit}")
        assert dict(line.split("=", 1) for line in output.splitlines()) == properties
    current = int(machine.check_output("systemctl show -p TasksCurrent --value ppm.service"))
    assert current < 64, "of 128: the threads of requests and a few more"


def test_systemd_analyze_security_of_the_service(machine: Machine) -> None:
    output = machine.check_output("systemd-analyze security --no-pager ppm.service")
    match = re.search(r"Overall exposure level for ppm\.service: ([0-9.]+)", output)
    assert match
    assert float(match[1]) <= 1.5, output


def test_a_compromised_service_reaches_only_its_volume(index: Deployed, machine: Machine) -> None:
    """The unit is the real one, with another program instead of the application."""
    unit = machine.file("/etc/systemd/system/ppm.service").content_string
    for line in ("Type", "NotifyAccess", "Restart", "RestartSec", "WatchdogSec", "Requires", "After"):
        unit = re.sub(rf"^{line}=.*\n", "", unit, flags=re.MULTILINE)
    start = (
        "Type=oneshot\nStandardOutput=file:/run/probe.json\nExecStart=/opt/ppm/current/venv/bin/python /run/probe.py"
    )
    unit, replaced = re.subn(r"^ExecStart=.*$", start, unit, flags=re.MULTILINE)
    assert replaced == 1
    index.host.run(f"cat > /run/probe.py <<'EOP'\n{textwrap.dedent(PROBE)}\nEOP")
    index.host.run(f"cat > /run/systemd/system/ppm-probe.service <<'EOP'\n{unit}\nEOP")
    try:
        index.host.run(
            "systemctl daemon-reload; systemctl start ppm-probe.service || journalctl -u ppm-probe -n 20 >&2"
        )
        done, tried = json.loads(index.host.run("cat /run/probe.json").out)
    finally:
        index.host.run("rm -f /run/probe.* /run/systemd/system/ppm-probe.service; systemctl daemon-reload")
        index.host.run("systemctl reset-failed ppm-probe.service 2>/dev/null; true")
    assert tried == 24
    assert done == ["its volume"]


@pytest.mark.parametrize(
    ("user", "may", "may_not"),
    [
        (
            "www-data",
            [
                *("test -r /srv/ppm/index/simple/index.html", "test -r /srv/ppm/credentials/nginx/00"),
                *("test -r /srv/ppm/packages/state/state-1.0-py3-none-any.whl", "test -w /srv/ppm/bodies"),
                "test -w /run/ppm/ppm.sock",
            ],
            [
                *("touch /srv/ppm/packages/x", "touch /srv/ppm/packages/state/x", "touch /srv/ppm/index/simple/x"),
                *("touch /srv/ppm/credentials/x", "cat /srv/ppm/audit.jsonl", "cat /srv/ppm/first-credential"),
                *("cat /srv/ppm/netrc", "touch /srv/ppm/drop/x", "cat /etc/ppm/tls/privkey.pem", "touch /opt/ppm/x"),
                *("truncate -s 0 /srv/ppm/credentials/htpasswd", "rm -f /run/ppm/ppm.sock"),
            ],
        ),
        (
            "nobody",
            ["ppmctl --version"],
            [
                *(
                    "ls /srv/ppm",
                    "cat /srv/ppm/credentials/htpasswd",
                    "ls /srv/ppm/packages",
                    "cat /etc/ppm/tls/privkey.pem",
                ),
                *("test -w /run/ppm/ppm.sock", "cat /var/log/nginx/access.log", "ppmctl user list"),
            ],
        ),
    ],
    ids=["nginx", "others"],
)
def test_other_users_reach_only_what_they_need(
    user: str, may: list[str], may_not: list[str], index: Deployed
) -> None:
    """The users are nginx's, as after a break-in there, and an unrelated one."""
    as_user = f"runuser -u {user} -- sh -c '{{}}' 2>&1"
    for command in may:
        done = index.host.run(as_user.format(command), check=False)
        assert done.code == 0, f"{command}: {done.out}"
    for command in may_not:
        assert index.host.run(as_user.format(command), check=False).code != 0, command


def test_site_yml_follows_no_link_that_the_application_made(index: Deployed) -> None:
    """A compromised application would get the files that such a link leads to."""
    host = index.host
    host.run("mkdir /root/kept && touch /root/kept/file")
    host.run("runuser -u ppm -- ln -s /root/kept /srv/ppm/credentials/planted")
    try:
        assert index.play().changed == ()
        assert host.run("stat -c '%U:%G' /root/kept /root/kept/file").out.split() == ["root:root"] * 2
    finally:
        host.run("rm -r /srv/ppm/credentials/planted /root/kept")


def test_the_application_logs_to_the_journal(index: Deployed) -> None:
    """An invalid line in the credentials makes it log a message."""
    path = "/srv/ppm/credentials/htpasswd"
    index.host.run(f"cp {path} /root/htpasswd && echo nonsense >> {path}")
    try:
        index.get("/")
        look = "journalctl -u ppm.service --no-pager -o cat"
        eventually(lambda: index.host.run(look).out, lambda log: "is not a credential that ppm knows" in log)
    finally:
        index.host.run(f"cat /root/htpasswd > {path}; rm /root/htpasswd")
    assert index.get("/simple/").status_code == 200


def test_logs_are_json_and_hold_no_secret(index: Deployed) -> None:
    secret = "ppm_" + ("aB5" * 15)[:43]
    index.get("/simple/state/")
    agent = {"User-Agent": 'quotes " and \\ and {"x": 1}'}
    index.get("/simple/state/", auth=("logged", secret), headers=agent)
    index.get("/simple/state/", auth=(secret, ""))
    index.get(f"/simple/?token={secret}")
    index.get("/simple/", headers={"Cookie": secret, "X-Token": secret})
    index.upload(wheel("logged", "1.0"), auth=("logged", secret))
    lines = index.host.run("cat /var/log/nginx/access.log").out.splitlines()
    entries = [json.loads(line) for line in lines]
    last = [entry for entry in entries if entry["agent"] == agent["User-Agent"]][-1]
    assert (last["user"], last["status"], last["path"]) == ("logged", 401, "/simple/state/")
    assert last["tls"].startswith("TLSv1.")
    everything = index.host.run("cat /var/log/nginx/*.log /srv/ppm/audit.jsonl; journalctl --no-pager -b").out
    assert secret not in everything
    assert index.secret not in everything


def test_ansible_prints_no_secret(index: Deployed) -> None:
    for run in index.runs:
        assert index.secret not in run.output
        assert "{SSHA}" not in run.output


def test_nginx_is_restarted_after_a_kill(index: Deployed) -> None:
    look = "systemctl show -p MainPID --value nginx.service"
    killed = index.host.run(look).out
    index.host.run("systemctl kill --signal=KILL nginx.service")
    eventually(lambda: index.host.run(look).out, lambda pid: pid not in (killed, "0\n"))
    assert index.get("/simple/").status_code == 200


def test_downloads_are_counted_by_the_timer(index: Deployed) -> None:
    """The service reads nginx's log of requests, and no other log; an install counts also without the application."""
    made = wheel("state", "1.0")
    agent = {"User-Agent": "pip/26.0 {}"}
    with index.reads_alone():
        assert index.get(f"/packages/state/{made[0]}", headers=agent).status_code == 200

    def count() -> dict[str, int]:
        index.host.run("systemctl start ppm-count.service")
        counted: dict[str, int] = json.loads(index.ppmctl("stats downloads state --json"))["by_client"]
        return counted

    assert eventually(count, lambda clients: "pip" in clients)["pip"] == 1
    assert index.get("/api/stats/downloads?project=state").json()["by_client"]["pip"] == 1
    shown = index.host.run("systemctl show -p TimersCalendar -p ActiveState ppm-count.timer").out
    assert "OnCalendar=*-*-* *:*:15 " in shown
    assert "ActiveState=active" in shown
    safe = index.host.run("systemd-analyze security --no-pager ppm-count.service").out.split()
    assert float(safe[safe.index("ppm-count.service:") + 1]) <= 1.5
    journal = index.host.run("journalctl -u ppm-count.service --no-pager -o cat").out
    assert not re.search("Start|Finished|can't", journal), journal
    as_ppm = "setpriv --reuid ppm --regid ppm --clear-groups"
    index.host.run(f"{as_ppm} test -r /var/log/nginx/ppm/requests.log")
    index.host.run(f"{as_ppm} test ! -r /var/log/nginx/access.log")
    assert index.user not in index.host.run("cat /var/log/nginx/ppm/requests.log").out
