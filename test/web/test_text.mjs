// What the page says in words.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { closeWords } from '../../web/medium.js';
import { sentence } from '../../web/text.js';

test('the words of a log become a sentence, and names in them stay as they are', () => {
    const cases = {
        '': '',
        'the slot waits for another file to come back': 'The slot waits for another file to come back.',
        'There is no such slot.': 'There is no such slot.',
        'https://h/x.iso: 404 Not Found (check the path)': 'https://h/x.iso: 404 Not Found (check the path).',
        'rescue.iso is empty': 'rescue.iso is empty.',
        '/srv/x.iso: Permission denied': '/srv/x.iso: Permission denied.',
        'slot0: what': 'slot0: what.',
        'trying again …': 'Trying again …',
    };
    for (const [words, wanted] of Object.entries(cases))
        assert.equal(sentence(words), wanted);
});

test('every close is told in words', () => {
    assert.equal(closeWords(1000, ''), 'Ejected.');
    assert.equal(closeWords(1000, 'ejected'), 'Ejected.');
    assert.equal(closeWords(1008, 'the login of the browser\'s user has ended'),
        'Not allowed: the login of the browser\'s user has ended.');
    assert.equal(closeWords(1011, 'the NBD server answered nothing for 100s'),
        'The BMC had a failure: the NBD server answered nothing for 100s.');
    assert.equal(closeWords(1006, ''), 'The connection was lost.');
    assert.equal(closeWords(4000, 'not NBD'), 'Not NBD.');
    assert.equal(closeWords(4999, ''), 'The connection was closed with code 4999.');
    for (const code of [1001, 1002, 1009, 1012, 1013])
        assert.match(closeWords(code, ''), /^[A-Z].*[a-z]\.$/);
});
