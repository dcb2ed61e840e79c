// The client's half of NBD for the tests, written from doc/proto.md and not
// from the server's own tables.

export const hex = (text) => Uint8Array.from(Buffer.from(text.replace(/\s+/g, ''), 'hex'));
export const toHex = (bytes) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');
export const join = (...parts) => new Uint8Array(Buffer.concat(parts));

export const GREETING = '4e42444d4147494349484156454f50540003';
export const CLIENT_FLAGS = hex('00000003');

export function option(number, data = new Uint8Array(0)) {
    const head = Buffer.alloc(16);
    head.write('IHAVEOPT', 'latin1');
    head.writeUInt32BE(number, 8);
    head.writeUInt32BE(data.length, 12);
    return join(head, data);
}

export const exportName = (name = '') => option(1, Buffer.from(name));

export function goData(name, infos) {
    const encoded = Buffer.from(name);
    const data = Buffer.alloc(6 + encoded.length + 2 * infos.length);
    data.writeUInt32BE(encoded.length, 0);
    encoded.copy(data, 4);
    data.writeUInt16BE(infos.length, 4 + encoded.length);
    infos.forEach((info, i) => data.writeUInt16BE(info, 6 + encoded.length + 2 * i));
    return data;
}

export function request({ type, cookie = 1n, offset = 0n, length = 0, flags = 0, data = new Uint8Array(0) }) {
    const head = Buffer.alloc(28);
    head.writeUInt32BE(0x25609513, 0);
    head.writeUInt16BE(flags, 4);
    head.writeUInt16BE(type, 6);
    head.writeBigUInt64BE(BigInt.asUintN(64, BigInt(cookie)), 8);
    head.writeBigUInt64BE(BigInt.asUintN(64, BigInt(offset)), 16);
    head.writeUInt32BE(length || data.length, 24);
    return join(head, data);
}

export const READ = 0, WRITE = 1, DISC = 2, FLUSH = 3, TRIM = 4, CACHE = 5, WRITE_ZEROES = 6, BLOCK_STATUS = 7;

/** One simple reply in one message. */
export function reply(message) {
    const b = Buffer.from(message.buffer, message.byteOffset, message.byteLength);
    if (b.readUInt32BE(0) !== 0x67446698)
        throw new Error(`not a reply: ${b.toString('hex', 0, 16)}`);
    return { error: b.readUInt32BE(4), cookie: b.readBigUInt64BE(8), data: new Uint8Array(b.subarray(16)) };
}

export function optionReply(message) {
    const b = Buffer.from(message.buffer, message.byteOffset, message.byteLength);
    if (b.toString('hex', 0, 8) !== '0003e889045565a9' || b.length !== 20 + b.readUInt32BE(16))
        throw new Error(`not an option's reply: ${b.toString('hex')}`);
    return { option: b.readUInt32BE(8), type: b.readUInt32BE(12), data: new Uint8Array(b.subarray(20)) };
}

/** Bytes that say where they are, so that a read of the wrong place is seen. */
export function pattern(offset, length) {
    const bytes = new Uint8Array(length);
    for (let i = 0; i < length; i++) {
        const at = offset + i;
        bytes[i] = (at ^ (at >>> 8) * 7 ^ Math.floor(at / 65536) * 13) & 255;
    }
    return bytes;
}

export const settle = () => new Promise((resolve) => setImmediate(resolve));
