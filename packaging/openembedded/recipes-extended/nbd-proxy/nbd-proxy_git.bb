SUMMARY = "Virtual media: disk images from far away as drives of the host"
SECTION = "net"
LICENSE = "Apache-2.0"
LIC_FILES_CHKSUM = "file://LICENSE;md5=3b83ef96387f14655fc854ddc3c6bd57"
PV = "0.1.0+git"

inherit autotools pkgconfig systemd useradd externalsrc

# The checkout that this layer is in. A layer elsewhere empties it, and gives SRC_URI and SRCREV.
EXTERNALSRC ?= "${@os.path.realpath('${THISDIR}/../../../..')}"
EXTERNALSRC_BUILD ?= "${WORKDIR}/build"

DEPENDS = "curl inih jansson libmnl libuv libxcrypt llhttp openssl wslay"

PACKAGECONFIG ??= "\
    dbus libsmb2 libssh2 seccomp \
    ${@bb.utils.contains('DISTRO_FEATURES', 'systemd', 'systemd', '', d)} \
    ${@bb.utils.contains('DISTRO_FEATURES', 'pam', 'pam', '', d)} \
"
PACKAGECONFIG[dbus] = "--with-dbus,--without-dbus,systemd"
PACKAGECONFIG[libsmb2] = "--with-libsmb2,--without-libsmb2,libsmb2"
PACKAGECONFIG[libssh2] = "--with-libssh2,--without-libssh2,libssh2"
PACKAGECONFIG[pam] = "--with-pam,--without-pam,libpam"
PACKAGECONFIG[seccomp] = "--with-seccomp,--without-seccomp,libseccomp"
PACKAGECONFIG[systemd] = "--with-systemd --with-systemdsystemunitdir=${systemd_system_unitdir},--without-systemd --without-systemdsystemunitdir,systemd"

EXTRA_OECONF = "--sysconfdir=${sysconfdir} --localstatedir=${localstatedir}"

USERADD_PACKAGES = "${PN}"
USERADD_PARAM:${PN} = "--system --user-group --no-create-home --home-dir ${localstatedir}/lib/nbd-proxy --shell /sbin/nologin nbd-proxy"

SYSTEMD_SERVICE:${PN} = "${@bb.utils.contains('PACKAGECONFIG', 'systemd', 'nbd-proxy.service nbd-proxy-helper.socket', '', d)}"

# The configuration may hold passwords: it is root's and its group's. The state is the daemon's alone.
do_install:append() {
    chown root:nbd-proxy ${D}${sysconfdir}/nbd-proxy.conf
    chmod 0640 ${D}${sysconfdir}/nbd-proxy.conf
    chown nbd-proxy:nbd-proxy ${D}${localstatedir}/lib/nbd-proxy
    chmod 0700 ${D}${localstatedir}/lib/nbd-proxy
}

CONFFILES:${PN} = "${sysconfdir}/nbd-proxy.conf"
FILES:${PN} += "\
    ${systemd_system_unitdir} \
    ${nonarch_libdir}/sysusers.d ${nonarch_libdir}/tmpfiles.d ${nonarch_libdir}/modules-load.d ${nonarch_libdir}/modprobe.d \
    ${nonarch_base_libdir}/udev ${nonarch_libdir}/udev \
    ${datadir}/nbd-proxy ${datadir}/dbus-1 \
    ${localstatedir}/lib/nbd-proxy \
"
# As other recipes do; the two other shells' lie in the documentation's package.
PACKAGES =+ "${PN}-bash-completion"
FILES:${PN}-bash-completion = "${datadir}/bash-completion"
FILES:${PN}-doc += "${datadir}/zsh ${datadir}/fish"

# The names of kernels that have them built in are there as well.
RRECOMMENDS:${PN} += "ca-certificates kernel-module-nbd kernel-module-libcomposite kernel-module-usb-f-mass-storage"

# A stock bmcweb starts /usr/bin/nbd-proxy, which was jsnbd's.
RPROVIDES:${PN} += "jsnbd"
RREPLACES:${PN} += "jsnbd"
RCONFLICTS:${PN} += "jsnbd"
