// The server's half of a WebSocket (RFC 6455) for the mock daemon: binary and
// close frames, fragments, ping. A test's tool: it trusts its peer.

import { createHash } from 'node:crypto';

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
const CONTINUATION = 0, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10;

export class WebSocketPeer {
    onMessage = () => {};
    onClose = () => {};
    messages = 0;
    #socket;
    #input = Buffer.alloc(0);
    #fragments = [];
    #closed = false;

    /** Answers the upgrade and takes the socket. */
    constructor(request, socket, protocol) {
        this.#socket = socket;
        const key = createHash('sha1').update(request.headers['sec-websocket-key'] + GUID).digest('base64');
        socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
            + `Sec-WebSocket-Accept: ${key}\r\n${protocol ? `Sec-WebSocket-Protocol: ${protocol}\r\n` : ''}\r\n`);
        socket.on('data', (data) => this.#onData(data));
        socket.on('error', () => {});
        socket.on('close', () => this.#end(1006, ''));
    }

    send(bytes) {
        this.#frame(BINARY, bytes);
    }

    close(code, reason = '') {
        const text = Buffer.from(reason);
        const body = Buffer.alloc(2 + text.length);
        body.writeUInt16BE(code);
        text.copy(body, 2);
        this.#frame(CLOSE, body);
        this.#end(code, reason);
    }

    /** As when the network goes. */
    drop() {
        this.#socket.destroy();
    }

    #frame(opcode, bytes) {
        const { length } = bytes; // in as few bytes as it needs: Chromium is strict about that
        const head = Buffer.alloc(length < 126 ? 2 : length < 65536 ? 4 : 10);
        head[0] = 0x80 | opcode;
        head[1] = length < 126 ? length : length < 65536 ? 126 : 127;
        if (head.length === 4)
            head.writeUInt16BE(length, 2);
        else if (head.length === 10)
            head.writeBigUInt64BE(BigInt(length), 2);
        if (this.#socket.writable)
            this.#socket.write(Buffer.concat([head, bytes]));
    }

    #onData(data) {
        this.#input = Buffer.concat([this.#input, data]);
        for (let frame; (frame = this.#takeFrame());)
            this.#onFrame(frame);
    }

    #takeFrame() {
        const input = this.#input;
        if (input.length < 2)
            return null;
        let length = input[1] & 127, at = 2;
        if (length === 126) {
            if (input.length < 4)
                return null;
            length = input.readUInt16BE(2);
            at = 4;
        } else if (length === 127) {
            if (input.length < 10)
                return null;
            length = Number(input.readBigUInt64BE(2));
            at = 10;
        }
        if (input.length < at + 4 + length)
            return null;
        const mask = input.subarray(at, at + 4);
        const body = Buffer.from(input.subarray(at + 4, at + 4 + length));
        for (let i = 0; i < length; i++)
            body[i] ^= mask[i & 3];
        this.#input = input.subarray(at + 4 + length);
        return { final: Boolean(input[0] & 0x80), opcode: input[0] & 15, body };
    }

    #onFrame({ final, opcode, body }) {
        if (opcode === PING)
            return this.#frame(PONG, body);
        if (opcode === CLOSE) {
            const code = body.length >= 2 ? body.readUInt16BE() : 1005;
            if (!this.#closed)
                this.#frame(CLOSE, body.subarray(0, 2));
            this.#socket.end();
            return this.#end(code, body.toString('utf8', 2));
        }
        if (opcode !== BINARY && opcode !== CONTINUATION)
            return;
        this.#fragments.push(body);
        if (!final)
            return;
        this.messages++;
        this.onMessage(Buffer.concat(this.#fragments));
        this.#fragments = [];
    }

    #end(code, reason) {
        if (this.#closed)
            return;
        this.#closed = true;
        this.onClose(code, reason);
    }
}
