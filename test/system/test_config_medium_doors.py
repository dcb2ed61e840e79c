"""Config media and network data by Redfish and by the page's API."""
import json

import pytest

from redfish_client import EJECT, INSERT, SLOT, admin, own, service, users # noqa: F401 (fixtures)
from test_config_medium import CANARY, NETWORK, files, label, medium
from test_kernel_args_doors import image, oem, read # noqa: F401 (fixtures)
from website import new_site # noqa: F401 (fixtures)
from website import accounts # noqa: F401 (fixtures)

FILES = {"user-data": f"#cloud-config\n# {CANARY} {{serial}}\n", "x/y.bin": {"base64": "AAEC"}}
WISH = oem(ConfigFiles=FILES, ConfigKind="cidata", SerialNumber="SN42", NetworkData={"prov": NETWORK})


def check_medium(d, place):
    iso = medium(d, place, "slot0")
    found = files(iso)
    assert found["/user-data"] == f"#cloud-config\n# {CANARY} SN42\n".encode() and found["/x/y.bin"] == b"\0\1\2"
    assert json.loads(found["/network-config"])["ethernets"]["eno1"]["addresses"] == ["192.0.2.7/24"]
    assert label(iso) == "cidata"


def test_insert_media(admin, service, tmp_path):
    assert admin.post(INSERT, WISH).status == 204
    check_medium(service, tmp_path)
    shown = admin.slot()
    assert shown["Image"] == "config:cidata" and shown["WriteProtected"] and shown["Inserted"]
    assert admin.post(INSERT, WISH).status == 204 # the same again
    assert admin.post(INSERT, {**oem(ConfigFiles={"user-data": "other"}, ConfigKind="cidata")}).ids == ["ResourceInUse"]
    assert CANARY not in str(shown) + service.log() + service.state()
    assert admin.post(EJECT).status == 204


def test_a_patch_exchanges_the_files_and_keeps_what_it_does_not_name(admin, service, tmp_path):
    assert admin.patch(SLOT, WISH).status in (200, 204)
    check_medium(service, tmp_path)
    assert admin.patch(SLOT, {"Image": "config:cidata", **oem(SerialNumber="SN43")}).status in (200, 204)
    assert b"SN43" in files(medium(service, tmp_path, "slot0"))["/user-data"]
    assert admin.patch(SLOT, oem(ConfigFiles={"a": "b"})).status in (200, 204)
    assert files(medium(service, tmp_path, "slot0")) == {"/a": b"b"}
    assert admin.patch(SLOT, {"Image": None}).status in (200, 204) and not admin.slot()["Inserted"]


def test_an_image_that_leads_to_the_files(admin, service, nginx, www, tmp_path):
    (www / "site.json").write_text('{"ks.cfg": "text\\n"}')
    assert admin.post(INSERT, {"Image": nginx.url("site.json"), **oem(ConfigKind="OEMDRV")}).status == 204
    assert files(medium(service, tmp_path, "slot0")) == {"/ks.cfg": b"text\n"}
    assert admin.slot()["Image"] == nginx.url("site.json")
    assert admin.post(EJECT).status == 204


def test_network_data_becomes_arguments(admin, service, nginx, image, tmp_path):
    assert admin.post(INSERT, {"Image": nginx.url(image), **oem(NetworkData=NETWORK, NetworkKind="debian-installer")}).status == 204
    assert b"linux /boot/vmlinuz quiet --- netcfg/choose_interface=eno1 " in read(service.uri(), tmp_path)
    assert admin.patch(SLOT, {"Image": nginx.url(image), **oem(NetworkKind="ip")}).status in (200, 204)
    assert b"--- ip=192.0.2.7::192.0.2.1:255.255.255.0::eno1:off:192.0.2.53\n" in read(service.uri(), tmp_path)
    assert admin.post(EJECT).status == 204


@pytest.mark.parametrize("body, ids, why", (
    ({}, ["ActionParameterMissing"], ""), (oem(ConfigKind="cidata"), ["ActionParameterMissing"], ""),
    (oem(ConfigFiles="x"), ["ActionParameterValueTypeError"], ""), (oem(ConfigFiles=[]), ["ActionParameterValueTypeError"], ""),
    (oem(ConfigFiles={"a": 1}), ["ImageNotUsable"], "base64"), (oem(ConfigFiles={"a": "{mac}"}), ["ImageNotUsable"], "{mac}"),
    (oem(ConfigFiles={"a": ""}, ConfigKind="x"), ["ActionParameterValueNotInList"], ""),
    ({"Image": "https://h/x.iso", **oem(ConfigFiles={"a": ""})}, ["ImageNotUsable"], "give one of them"),
    ({"TransferProtocolType": "HTTPS", **oem(ConfigFiles={"a": ""})}, ["ActionParameterValueConflict"], ""),
    ({"WriteProtected": False, **oem(ConfigFiles={"a": ""})}, ["ImageNotUsable"], "not written to"),
    (oem(ConfigFiles={"a": ""}, KernelArguments="x"), ["ImageNotUsable"], "boots nothing"),
    ({"Image": "https://h/x.iso", **oem(NetworkData={"address": "x"})}, ["ImageNotUsable"], "network-data's address")))
def test_what_redfish_refuses(admin, body, ids, why):
    answer = admin.post(INSERT, body)
    assert answer.status == 400 and answer.ids == ids and why in str(answer.json)
    assert not admin.slot()["Inserted"]


def test_clients_are_told_of_them(admin):
    told = admin.get(f"{SLOT}/InsertMediaActionInfo").json["Oem"]["NbdProxy"]["Parameters"]
    kinds = {p["Name"]: (p["DataType"], p["AllowableValues"]) for p in told}
    assert kinds["ConfigFiles"] == kinds["NetworkData"] == ("Object", []) and "cidata" in kinds["ConfigKind"][1]
    assert {"ConfigLabel", "NetworkKind", "SerialNumber", "UUID", "MACAddress"} < kinds.keys()


def test_the_pages_api(new_site, nginx, image, tmp_path):
    site = new_site(more=f"[http]\nca-file = {nginx.tls}/ca.pem\n")
    web = site.web("operator")
    assert web.insert("slot0", None, configFiles=FILES, configKind="cidata", serial="SN42", networkData=NETWORK).status == 200
    check_medium(site, tmp_path)
    assert CANARY not in str(web.slot()) + site.daemon.log()
    assert web.eject("slot0").status == 200
    assert "{serial}" in web.insert("slot0", None, configFiles=FILES, configKind="cidata").error
    dry = web.insert("slot0", nginx.url(image), kernelArgs="a=1", networkData=NETWORK, dryRun=True)
    assert dry.status == 200 and "+\tlinux /boot/vmlinuz quiet --- a=1 ip=192.0.2.7" in dry.json()["changes"]
    assert web.slot()["state"] == "empty"
