SUMMARY = "A client of SMB2 and SMB3 shares, as a library"
HOMEPAGE = "https://github.com/sahlberg/libsmb2"
SECTION = "libs"
LICENSE = "LGPL-2.1-or-later"
LIC_FILES_CHKSUM = "file://LICENCE-LGPL-2.1.txt;md5=4fbd65380cdd255951079008b364516c"

SRC_URI = "git://github.com/sahlberg/libsmb2.git;protocol=https;branch=master"
SRCREV = "d67e213a5c4e7e4969fd81f0b95e4ca5831fbba1"
S = "${WORKDIR}/git"

inherit cmake pkgconfig

# Without Kerberos: it would ask name servers, and wait for them.
EXTRA_OECMAKE = "-DENABLE_LIBKRB5=OFF -DENABLE_GSSAPI=OFF -DENABLE_EXAMPLES=OFF"
FILES:${PN}-dev += "${libdir}/cmake"
