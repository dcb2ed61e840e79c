/**
 * Names as ISO 9660 and Joliet allow them. `number` tells two apart that would
 * be the same: 0 for the first, then 1, 2, ...
 */

const PRIMARY_FILE = 30; // d-characters of a name and its extension, with the dot; level 2
const PRIMARY_DIRECTORY = 31;
const PRIMARY_EXTENSION = 8;
const JOLIET = 103; // UTF-16 units
const JOLIET_EXTENSION = 20; // longer ones are no extension
const JOLIET_FORBIDDEN = /[\u0000-\u001f*/:;?\\]/g;

/**
 * A name for each, none twice.
 * @template T
 * @param {T[]} nodes
 * @param {(node: T, number: number) => string} nameOf
 * @returns {string[]}
 */
export function uniqueNames(nodes, nameOf) {
    const taken = new Set();
    const next = new Map(); // a name without a number -> the number to try next
    return nodes.map((node) => {
        const plain = nameOf(node, 0);
        let name = plain;
        let number = next.get(plain) ?? 0;
        if (number)
            name = nameOf(node, number);
        while (taken.has(name.toUpperCase()))
            name = nameOf(node, ++number);
        taken.add(name.toUpperCase()); // a host may not tell case apart
        next.set(plain, number + 1);
        return name;
    });
}

function dCharacters(text) {
    return text.normalize('NFKD').replace(/\p{M}/gu, '').toUpperCase().replace(/[^A-Z0-9_]/g, '_');
}

/** Stem and extension; a dot at the begin makes no extension. */
function split(name, longestExtension) {
    const dot = name.lastIndexOf('.');
    if (dot <= 0 || name.length - dot - 1 > longestExtension)
        return [name, ''];
    return [name.slice(0, dot), name.slice(dot + 1)];
}

const suffixOf = (number, mark) => number ? `${mark}${number}` : '';

export function directoryName(name, number) {
    const suffix = suffixOf(number, '_');
    return dCharacters(name).slice(0, PRIMARY_DIRECTORY - suffix.length) + suffix || '_';
}

export function fileName(name, number) {
    const [stem, extension] = split(name, Infinity).map(dCharacters);
    const end = `.${extension.slice(0, PRIMARY_EXTENSION)}`;
    const suffix = suffixOf(number, '_');
    return `${stem.slice(0, PRIMARY_FILE - end.length - suffix.length)}${suffix}${end};1`;
}

export function jolietName(name, number) {
    const [stem, extension] = split(name.replace(JOLIET_FORBIDDEN, '_'), JOLIET_EXTENSION);
    const end = suffixOf(number, '~') + (extension && `.${extension}`);
    return cut(stem, JOLIET - end.length) + end;
}

/** Not between the halves of a surrogate pair. */
function cut(text, length) {
    if (text.length <= length)
        return text;
    const last = text.charCodeAt(length - 1);
    return text.slice(0, last >= 0xd800 && last < 0xdc00 ? length - 1 : length);
}
