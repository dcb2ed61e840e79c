/** What a slot is, in words. Slots are those of api.js. */

const STATE_WORDS = {
    empty: 'Empty', opening: 'Opening', attaching: 'Attaching', ready: 'Ready', waiting: 'Waiting for the browser',
    detaching: 'Ejecting', closing: 'Ejecting',
};
export const MEDIA_WORDS = { cd: 'CD/DVD', disk: 'USB disk' };

export function waitsWords({ hostWaits }) {
    return `Host waits for data, ${hostWaits.seconds} s`;
}

export function stateWords(state) {
    return STATE_WORDS[state] ?? state;
}

export function isStored(slot) {
    return slot.image.startsWith('upload:');
}

export function isConfig(slot) {
    return slot.image.startsWith('config:');
}

export function imageWords(slot) {
    if (!isStored(slot))
        return slot.imageName || slot.image || '…';
    try {
        return decodeURIComponent(slot.image.slice('upload:'.length));
    } catch { // not by this page
        return slot.image;
    }
}

/**
 * The slot's pill: its words, and its state, which is its colour.
 *
 * @param {boolean} away the BMC does not answer
 */
export function pillWords(slot, away) {
    if (away)
        return ['The BMC is away', 'away'];
    if (slot.state !== 'ready')
        return [stateWords(slot.state), slot.state]; // waiting: for the browser, which is the cause
    if (slot.hostWaits)
        return [waitsWords(slot), 'stalled'];
    return slot.failing ? ['Not readable now', 'stalled'] : [stateWords(slot.state), slot.state];
}
