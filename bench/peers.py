"""The programs compared: each is started for one row and stopped after it, so every row is cold."""
import contextlib, glob, json, os, shutil, socket, tempfile, time

from ground import HERE, Failure, memory_mib, spawn, stop, wait_for


class Peer:
    """open(url): until a client may connect; sets process, socket and opening (seconds that count for `first`)."""
    export, opening, idle, details = '', 0.0, None, None
    rehearses = False # `live`: a first boot is not measured, and again(url) follows on it

    def __init__(self, ground, options):
        self.ground, self.options = ground, options
        self.folder = tempfile.mkdtemp(prefix='nbd-bench-')
        self.socket = os.path.join(self.folder, 'sock')
        self.log = open(ground.path(f'{type(self).__name__}.log'), 'w')

    def launch(self, args):
        begin = time.monotonic()
        self.process = spawn(args, stdout=self.log, stderr=self.log)
        wait_for(lambda: os.path.exists(self.socket), args[0], self.process)
        return time.monotonic() - begin

    @classmethod
    def several(cls, ground, options, urls):
        """A server for each URL: (servers, sockets). What fails closes what was opened."""
        with contextlib.ExitStack() as opened:
            peers = [cls(ground, options) for _ in urls]
            for peer, url in zip(peers, urls):
                opened.callback(peer.close)
                peer.open(url)
            opened.pop_all()
        return peers, [peer.socket for peer in peers]

    def finish(self):
        pass

    def close(self):
        if hasattr(self, 'process'):
            stop(self.process)
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class LocalFile(Peer):
    """No link and no server: what the reader takes by itself."""

    def open(self, _url):
        self.launch(['nbdkit', '-f', '-r', '-U', self.socket, 'file', self.ground.image])


class Nbdkit(Peer):
    filters, settings = [], []

    def open(self, url):
        tls = [f'cainfo={self.ground.path("ca.pem")}'] if url.startswith('https') else []
        self.launch(['nbdkit', '-f', '-r', '-U', self.socket, *self.filters, 'curl', f'url={url}', *tls, *self.settings])


class NbdkitCow(Nbdkit):
    block, filters = '1M', ['--filter=cow']

    @property
    def settings(self):
        return [f'cow-block-size={self.block}', 'cow-on-read=true']


class NbdkitCow64K(NbdkitCow):
    block = '64K'


class NbdkitCow256K(NbdkitCow):
    block = '256K'


class NbdkitCow4M(NbdkitCow):
    block = '4M'


class NbdkitReadahead(Nbdkit):
    filters, settings = ['--filter=readahead', '--filter=cow'], ['cow-block-size=1M', 'cow-on-cache=true']


class NbdkitCache(Nbdkit):
    filters, settings = ['--filter=cache'], ['cache-on-read=true', 'cache-min-block-size=1M']


class Qemu(Peer):
    readahead = 4 << 20

    def open(self, url):
        # It opens the image before it listens, so its start counts; its libcurl is the GnuTLS one without our CA.
        driver = {'driver': url.split(':')[0], 'url': url, 'readahead': self.readahead}
        if url.startswith('https'):
            driver['sslverify'] = 'off'
        self.opening = self.launch(['qemu-nbd', '-r', '-t', '--shared=16', '-k', self.socket,
                                    'json:' + json.dumps({'driver': 'raw', 'file': driver})])


class Qemu256K(Qemu):
    readahead = 256 << 10  # its default


class NbdProxy(Peer):
    def start(self, *settings):
        """The daemon, with no image yet."""
        self.socket = os.path.join(self.folder, 'slot0.sock')
        self.control = os.path.join(self.folder, 'control.sock')
        settings = [f'daemon.runtime-dir={self.folder}', 'http.allow-local=yes', 'daemon.profile-directory=', *settings, *self.options.set]
        self.process = spawn([self.options.nbd_proxy, '--no-config', *[x for s in settings for x in ('--set', s)]],
                             stdout=self.log, stderr=self.log)
        wait_for(lambda: os.path.exists(self.control), 'nbd-proxy', self.process)
        time.sleep(0.2)
        self.idle = memory_mib(self.process.pid, 'VmRSS')

    def open(self, url):
        self.start(f'http.ca-file={self.ground.path("ca.pem")}')
        self.opening = self.insert('slot0', url)
        wait_for(lambda: os.path.exists(self.socket), 'nbd-proxy slot0.sock', self.process)

    def insert(self, slot, url):
        """How long it took."""
        begin = time.monotonic()
        answer = self.command(f'insert {slot} {url}')
        if not answer.splitlines()[-1].startswith('ok'):  # a warning may stand before
            raise Failure(f'insert: {answer}')
        return time.monotonic() - begin

    @classmethod
    def several(cls, ground, options, urls):
        """One daemon with a slot for each."""
        peer = cls(ground, options)
        try:
            peer.start(f'http.ca-file={ground.path("ca.pem")}', *[f'slot.slot{i}.attach=socket' for i in range(len(urls))])
            for i, url in enumerate(urls):
                peer.insert(f'slot{i}', url)
        except BaseException:
            peer.close()
            raise
        return [peer], [os.path.join(peer.folder, f'slot{i}.sock') for i in range(len(urls))]

    def command(self, line):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(60)
            s.connect(self.control)
            s.sendall(line.encode() + b'\n')
            answer = b''
            while True:
                last = answer.rstrip(b'\n').rsplit(b'\n', 1)[-1]
                if answer.endswith(b'\n') and (last == b'ok' or last.startswith((b'ok:', b'error:'))):
                    return answer.decode().strip()
                more = s.recv(65536)
                if not more:
                    raise Failure(f'control socket: {line}: closed after {answer!r}')
                answer += more

    def finish(self):
        with contextlib.suppress(OSError, ValueError, Failure):
            self.details = json.loads(self.command('status --json').splitlines()[0])


class NbdProxyProfile(NbdProxy):
    """The second boot from an image, by what the first one read."""
    rehearses = True

    def start(self, *settings):
        super().start(f'daemon.profile-directory={self.folder}/profiles', *settings)

    def again(self, url):
        self.command('eject slot0')
        wait_for(lambda: glob.glob(f'{self.folder}/profiles/*.boot-profile'), 'the boot profile', self.process)
        self.opening = self.insert('slot0', url)


PEERS = {'nbd-proxy': NbdProxy, 'nbd-proxy-profile': NbdProxyProfile, 'nbdkit': Nbdkit, 'nbdkit-cow': NbdkitCow, 'nbdkit-cow-64k': NbdkitCow64K,
         'nbdkit-cow-256k': NbdkitCow256K, 'nbdkit-cow-4m': NbdkitCow4M, 'nbdkit-readahead': NbdkitReadahead,
         'nbdkit-cache': NbdkitCache, 'qemu-nbd': Qemu, 'qemu-nbd-256k': Qemu256K, 'curl': None}
DEFAULT_PEERS = ['curl', 'nbdkit', 'nbdkit-cow', 'qemu-nbd', 'qemu-nbd-256k', 'nbd-proxy']


def find_nbd_proxy():
    root = os.path.dirname(HERE)
    found = [p for pattern in ('nbd-proxy', 'build*/nbd-proxy', 'build*/src/nbd-proxy', 'src/nbd-proxy')
             for p in glob.glob(os.path.join(root, pattern)) if os.access(p, os.X_OK) and os.path.isfile(p)]
    return os.environ.get('NBD_PROXY') or (max(found, key=os.path.getmtime) if found else shutil.which('nbd-proxy'))
