SUMMARY = "The HTTP/1 parser of Node.js"
HOMEPAGE = "https://github.com/nodejs/llhttp"
SECTION = "libs"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://LICENSE;md5=9e4e583cb28b7e0c2ef8df4832706e96"

# The tags release/v* hold the generated source, on no branch.
SRC_URI = "git://github.com/nodejs/llhttp.git;protocol=https;nobranch=1"
SRCREV = "f831650b4f693bc1b4a6fe08f1b8ae25196e9f6a"
S = "${WORKDIR}/git"

inherit cmake
FILES:${PN}-dev += "${libdir}/cmake"
