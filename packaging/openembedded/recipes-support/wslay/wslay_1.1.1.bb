SUMMARY = "The WebSocket protocol, as a library in C"
HOMEPAGE = "https://tatsuhiro-t.github.io/wslay/"
SECTION = "libs"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://COPYING;md5=a3ce54bb6affd4d8851f1526229d6d0b"

SRC_URI = "git://github.com/tatsuhiro-t/wslay.git;protocol=https;branch=master"
SRCREV = "c9a84aa6df8512584c77c8cd15be9536b89c35aa"
S = "${WORKDIR}/git"

inherit cmake

# The static library is what nbd-proxy links; 1.1.1 asks for a cmake that cmake 4 no longer is.
EXTRA_OECMAKE = "-DWSLAY_STATIC=ON -DWSLAY_SHARED=OFF -DCMAKE_POSITION_INDEPENDENT_CODE=ON -DCMAKE_POLICY_VERSION_MINIMUM=3.5"
ALLOW_EMPTY:${PN} = "1"
FILES:${PN}-dev += "${libdir}/cmake ${datadir}"
