/**
 * The NBD protocol's numbers and messages as a server needs them (NBD project,
 * doc/proto.md): pure encoding and decoding, all integers big-endian.
 */

export const MAGIC = 0x4e42444d41474943n; // NBDMAGIC
export const OPTION_MAGIC = 0x49484156454f5054n; // IHAVEOPT
export const OPTION_REPLY_MAGIC = 0x0003e889045565a9n;
export const REQUEST_MAGIC = 0x25609513;
export const REPLY_MAGIC = 0x67446698;

export const FIXED_NEWSTYLE = 1;
export const NO_ZEROES = 2;
export const OPT = { EXPORT_NAME: 1, ABORT: 2, LIST: 3, INFO: 6, GO: 7 };
export const REP = { ACK: 1, SERVER: 2, INFO: 3, UNSUP: 0x80000001, INVALID: 0x80000003, TOO_BIG: 0x80000009 };
export const INFO = { EXPORT: 0, NAME: 1, DESCRIPTION: 2, BLOCK_SIZE: 3 };
export const TX = { HAS_FLAGS: 1, READ_ONLY: 2, SEND_FLUSH: 4 };
export const CMD = { READ: 0, WRITE: 1, DISC: 2, FLUSH: 3, TRIM: 4, WRITE_ZEROES: 6 };
export const OPTION_SIZE = 16;
export const REQUEST_SIZE = 28;
export const REPLY_SIZE = 16;
export const MAX_REQUEST = 32 << 20; // bytes of one READ or WRITE; proto.md, "Block size constraints"

/** Errors a source may set as `error.nbdError`; any other failure is EIO. */
export const NbdError = Object.freeze({ EPERM: 1, EIO: 5, ENOMEM: 12, EINVAL: 22, ENOSPC: 28, ESHUTDOWN: 108 });

export function message(length) {
    const bytes = new Uint8Array(length);
    return { bytes, view: viewOf(bytes) };
}

export function viewOf(bytes) {
    return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

export function listEntry(name, description) {
    const encoder = new TextEncoder();
    const first = encoder.encode(name);
    const second = encoder.encode(description);
    const { bytes, view } = message(4 + first.length + second.length);
    view.setUint32(0, first.length);
    bytes.set(first, 4);
    bytes.set(second, 4 + first.length);
    return bytes;
}

export function infoText(type, text) {
    const encoded = new TextEncoder().encode(text);
    const { bytes, view } = message(2 + encoded.length);
    view.setUint16(0, type);
    bytes.set(encoded, 2);
    return bytes;
}

export function blockSizes() {
    const { bytes, view } = message(14);
    view.setUint16(0, INFO.BLOCK_SIZE);
    view.setUint32(2, 1); // smallest
    view.setUint32(6, 64 << 10); // preferred
    view.setUint32(10, MAX_REQUEST);
    return bytes;
}

/** The data of INFO and GO; null if the lengths in it don't add up. */
export function decodeInfo(data) {
    if (data.length < 6)
        return null;
    const view = viewOf(data);
    const nameLength = view.getUint32(0);
    if (nameLength > data.length - 6)
        return null;
    const count = view.getUint16(4 + nameLength);
    if (data.length !== 6 + nameLength + 2 * count)
        return null;
    const infos = new Set();
    for (let i = 0; i < count; i++)
        infos.add(view.getUint16(6 + nameLength + 2 * i));
    return { nameLength, infos };
}

