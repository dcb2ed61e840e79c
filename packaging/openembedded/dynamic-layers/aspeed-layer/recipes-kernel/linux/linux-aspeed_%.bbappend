FILESEXTRAPATHS:prepend := "${THISDIR}/${PN}:"
SRC_URI += "file://nbd-proxy.cfg"
