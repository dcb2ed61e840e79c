"""What the benchmarks stand on: processes, the folder with image and certificates, nginx, and the emulated link."""
import contextlib, os, socket, subprocess, time, typing

HERE = os.path.dirname(os.path.abspath(__file__))
RATE = '1gbit'


class Failure(Exception):
    pass


# ---- processes ----

ENV = {k: v for k, v in os.environ.items()
       if not k.lower().endswith('_proxy') and k not in ('CURL_CA_BUNDLE', 'SSL_CERT_FILE', 'SSL_CERT_DIR')}


def spawn(args, **options):
    return subprocess.Popen(args, env=ENV, stdin=subprocess.DEVNULL, **options)


def stop(process):
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def cpu_seconds(pid):
    fields = open(f'/proc/{pid}/stat').read().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def memory_mib(pid, key='VmHWM'):
    for line in open(f'/proc/{pid}/status'):
        if line.startswith(key + ':'):
            return int(line.split()[1]) / 1024
    return 0


def wait_for(condition, what, process=None, seconds=15):
    end = time.monotonic() + seconds
    while not condition():
        if process and process.poll() is not None:
            raise Failure(f'{what}: ended with {process.returncode}')
        if time.monotonic() > end:
            raise Failure(f'{what}: nothing after {seconds} s')
        time.sleep(0.002)


def free_port():
    with socket.create_server(('127.0.0.1', 0)) as s:
        return s.getsockname()[1]


# ---- what is made once ----

class Ground:
    """The build folder: C helpers, image, certificates, nginx."""
    image_size = 1 << 30
    local = None  # what a local file takes, once it was measured

    def __init__(self, folder):
        self.folder = folder
        os.makedirs(self.path('www'), exist_ok=True)
        self.linkem = self.compile('linkem')
        self.image = self.make_image()
        if not os.path.exists(self.path('server.pem')):
            self.make_certificates()
        with open(self.image, 'rb') as f:  # into the page cache
            while f.read(1 << 22):
                pass
        self.start_nginx()

    def make_image(self):
        """Its path, in www."""
        self.nbdread = self.compile('nbdread')
        image = self.path('www', 'disk.img')
        if not os.path.exists(image) or os.path.getsize(image) != self.image_size:
            subprocess.check_call([self.nbdread, '--make', image, '--bytes', str(self.image_size)])
        return image

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def compile(self, name, *libraries):
        source, out = os.path.join(HERE, name + '.c'), self.path(name)
        if not os.path.exists(out) or os.path.getmtime(out) < os.path.getmtime(source):
            subprocess.check_call([os.environ.get('CC', 'cc'), '-O2', '-std=gnu17', '-D_GNU_SOURCE', '-o', out, source, *libraries])
        return out

    def openssl(self, *args):
        subprocess.run(['openssl', *args], check=True, capture_output=True, cwd=self.folder)

    def make_certificates(self):
        curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
        self.openssl('req', '-x509', *curve, '-keyout', 'ca.key', '-out', 'ca.pem', '-days', '3650', '-subj', '/CN=bench CA')
        self.openssl('req', *curve, '-keyout', 'server.key', '-out', 'server.csr', '-subj', '/CN=localhost')
        with open(self.path('san'), 'w') as f:
            f.write('subjectAltName=DNS:localhost,IP:127.0.0.1,IP:10.0.2.2\n')
        self.openssl('x509', '-req', '-in', 'server.csr', '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial',
                     '-days', '3650', '-extfile', 'san', '-out', 'server.pem')

    def start_nginx(self):
        self.http, self.https = free_port(), free_port()
        user = f"user {'root' if os.getuid() == 0 else os.environ.get('USER', 'nobody')};" if os.getuid() == 0 else ''
        temp = '\n'.join(f'{kind}_temp_path {self.path("tmp-" + kind)};'
                         for kind in ('client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'))
        with open(self.path('nginx.conf'), 'w') as f:
            f.write(f'''{user}
daemon off; master_process off; worker_processes 1; pid {self.path('nginx.pid')}; error_log {self.path('nginx.log')} warn;
events {{ worker_connections 512; }}
http {{
    access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 1000000000; keepalive_timeout 300s;
    {temp}
    ssl_certificate {self.path('server.pem')}; ssl_certificate_key {self.path('server.key')};
    ssl_protocols TLSv1.3; ssl_session_cache shared:bench:1m;
    server {{
        listen 127.0.0.1:{self.http}; listen 127.0.0.1:{self.https} ssl; server_name localhost;
        root {self.path('www')};
    }}
}}
''')
        self.nginx = spawn(['nginx', '-e', self.path('nginx.log'), '-c', self.path('nginx.conf'), '-p', self.folder])
        wait_for(lambda: self.answers(self.https), 'nginx', self.nginx)

    @staticmethod
    def answers(port):
        with contextlib.suppress(OSError), socket.create_connection(('127.0.0.1', port)):
            return True
        return False

    def image_names(self, count):
        """The image under so many names, each an image of its own to who reads it by URL."""
        names = [f'disk{i}.img' for i in range(count)]
        for name in names:
            if not os.path.exists(self.path('www', name)):
                os.link(self.image, self.path('www', name))
        return names

    def close(self):
        stop(self.nginx)


# ---- the link ----

class Link(typing.NamedTuple):
    rtt: int = 0
    rate: str = RATE
    queue: str = 'fair'
    loss: float = 0
    idle_restart: bool = False

    def is_direct(self):
        """Nothing to emulate: straight to the server."""
        return self == Link()._replace(idle_restart=self.idle_restart)

    def arguments(self):
        idle = ['--idle-restart'] if self.idle_restart else []
        return ['--rtt', f'{self.rtt}ms', '--rate', self.rate, '--queue', self.queue, '--loss', str(self.loss), *idle]

    def words(self):
        if self.is_direct():
            return 'direct'
        lost = [f'{self.loss:g} % lost'] if self.loss else []
        return ', '.join([f'{self.rtt} ms', self.rate, *([self.queue] if self.queue != 'fair' else []), *lost,
                          *(['idle restart'] if self.idle_restart else [])])


def add_link_options(parser, rtts):
    parser.add_argument('--rtt', type=int, nargs='*', default=rtts, help='milliseconds; 0 = straight to the server')
    parser.add_argument('--rate', nargs='*', default=[RATE], help='5mbit, 20mbit, 100mbit, 1gbit')
    parser.add_argument('--queue', nargs='*', default=['fair'], choices=['fair', 'fifo'], help='how connections share the link')
    parser.add_argument('--loss', type=float, nargs='*', default=[0], help='per cent of the packets')
    parser.add_argument('--idle-restart', action='store_true', help="a pause makes TCP's window small again, as on Linux")


def links(options):
    for rtt in options.rtt:
        for rate in options.rate:
            for queue in options.queue:
                for loss in options.loss:
                    yield Link(rtt, rate, queue, loss, options.idle_restart)


@contextlib.contextmanager
def open_port(ground, port, link):
    """Yields (port, carried): carried() ends the link and tells what it carried. `link` may be just an RTT."""
    link = link if isinstance(link, Link) else Link(link)
    if link.is_direct():
        yield port, lambda: None
        return
    process = spawn([ground.linkem, '--listen', '127.0.0.1:0', '--connect', f'127.0.0.1:{port}', *link.arguments()],
                    stdout=subprocess.PIPE, text=True)

    def carried():
        process.terminate()
        words = process.communicate()[0].split()
        return {name: int(count) for name, count in zip(words[::2], words[1::2])}
    try:
        yield int(process.stdout.readline()), carried
    finally:
        stop(process)


@contextlib.contextmanager
def open_link(ground, scheme, link):
    """The same for the image at nginx: (url, carried)."""
    with open_port(ground, ground.http if scheme == 'http' else ground.https, link) as (port, carried):
        yield f'{scheme}://127.0.0.1:{port}/{os.path.basename(ground.image)}', carried
