"""DMTF's own validators find no failure. They are in no distribution; they are used where they are installed:
pip install redfish-protocol-validator redfish-service-validator redfish-use-case-checkers redfish-interop-validator. The schemas
are loaded from DMTF, or come from the folder that REDFISH_SCHEMAS names; REDFISH_PROFILE names a file with a profile, as Ironic's."""
import os
import re
import shutil
import subprocess

import pytest

from redfish_client import PASSWORDS, own, port_of, users  # noqa: F401 (fixtures)
from test_host import Hook

FAILED = {"rf_protocol_validator": r"FAIL: (\d+)", "rf_service_validator": r"\|\s*\d+\s*\|\s*\d+\s*\|\s*(\d+)\s*\|", "rf_use_case_checkers": r"FAIL: (\d+)", "rf_interop_validator": r"\| (?:Fail|Warning) +\| +(\d+) \|"}
STATE = 'case "$2" in ForceOff|GracefulShutdown) s=Off;; *) s=On;; esac; [ "$1" = boot ] || sed -i "s/^PowerState.*/PowerState $s/" state; exit 0'


def arguments(program, url, folder):
    if program == "rf_interop_validator":
        return ["-u", "admin", "-p", PASSWORDS["admin"], "-r", url, "--logdir", folder, os.environ["REDFISH_PROFILE"]]
    login = ["--user", "admin", "--password", PASSWORDS["admin"], "--rhost", url]
    if program == "rf_service_validator":
        schemas = os.environ.get("REDFISH_SCHEMAS")
        return ["-u", "admin", "-p", PASSWORDS["admin"], "-r", url, "--logdir", folder, *(["--schema_directory", schemas] if schemas else [])]
    return [*login, "--report-dir", folder, *(["--no-cert-check", "--avoid-http-redirect"] if program == "rf_protocol_validator" else [])]


@pytest.mark.parametrize("program", FAILED)
def test_no_failure_is_found(own, folder, program):
    if not shutil.which(program):
        pytest.skip(f"needs {program} (pip install {program.replace('rf_', 'redfish-').replace('_', '-')})")
    if program == "rf_interop_validator" and "REDFISH_PROFILE" not in os.environ:
        pytest.skip("needs a profile (REDFISH_PROFILE)")
    hook = Hook(folder)
    hook.does(STATE)
    d = own(hook.key)
    run = subprocess.run([program, *arguments(program, f"https://127.0.0.1:{port_of(d)}", folder)], capture_output=True, text=True,
                         timeout=600)
    failed = re.findall(FAILED[program], run.stdout + run.stderr)
    wrong = failed if program == "rf_interop_validator" else failed[-1:] # it may not even warn
    assert run.returncode == 0 and wrong and set(wrong) == {"0"}, (run.stdout + run.stderr)[-3000:]
