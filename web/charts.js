/** The two pictures of a slot: how fast the host reads, and which parts of the image. */

const POINTS = 60; // one a second
const SVG = 'http://www.w3.org/2000/svg';
const HEIGHT = 24; // of the view box

/** Throughput of the last minute. The number beside it says the same in words. */
export class Sparkline {
    #values = new Array(POINTS).fill(0);
    #line;
    #area;

    constructor(svg) {
        svg.setAttribute('viewBox', `0 0 ${POINTS - 1} ${HEIGHT}`);
        svg.setAttribute('preserveAspectRatio', 'none');
        this.#area = svg.appendChild(document.createElementNS(SVG, 'path'));
        this.#line = svg.appendChild(document.createElementNS(SVG, 'path'));
        this.#area.setAttribute('class', 'spark-area');
        this.#line.setAttribute('class', 'spark-line');
        this.#draw();
    }

    push(value) {
        this.#values.shift();
        this.#values.push(value);
        this.#draw();
    }

    clear() {
        this.#values.fill(0);
        this.#draw();
    }

    get highest() {
        return Math.max(...this.#values);
    }

    #draw() {
        const top = Math.max(this.highest, 1);
        const points = this.#values.map((value, x) => `${x} ${(HEIGHT - 1 - value / top * (HEIGHT - 2)).toFixed(2)}`);
        const path = `M${points.join('L')}`;
        this.#line.setAttribute('d', path);
        this.#area.setAttribute('d', `${path}L${POINTS - 1} ${HEIGHT}L0 ${HEIGHT}Z`);
    }
}

const CELL_HEIGHT = 9; // CSS pixels of one row
const CELL_WIDTH = 6; // at least

/** What the host has read of the image: one cell for each equal part, from its begin to its end. */
export class HeatMap {
    #canvas;
    #buckets = [];

    constructor(canvas) {
        this.#canvas = canvas;
        new ResizeObserver(() => this.#draw()).observe(canvas);
        matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#draw());
    }

    /** @param {number[]} buckets 0 to 255 each */
    set(buckets) {
        this.#buckets = buckets;
        const read = buckets.filter((value) => value > 0).length;
        this.#canvas.setAttribute('aria-label', buckets.length
            ? `The host has read from ${Math.round(100 * read / buckets.length)} % of the image's parts`
            : 'The host has read nothing yet');
        this.#draw();
    }

    #draw() {
        const canvas = this.#canvas;
        const count = this.#buckets.length || 256;
        const columns = columnsFor(count, canvas.clientWidth);
        const rows = Math.ceil(count / columns);
        const scale = globalThis.devicePixelRatio || 1;
        canvas.style.height = `${rows * CELL_HEIGHT}px`;
        canvas.width = Math.round(canvas.clientWidth * scale);
        canvas.height = Math.round(rows * CELL_HEIGHT * scale);
        const context = canvas.getContext('2d');
        const style = getComputedStyle(canvas);
        const cold = style.getPropertyValue('--track');
        const hot = style.getPropertyValue('--accent');
        const gap = scale;
        for (let i = 0; i < count; i++) {
            const value = this.#buckets[i] ?? 0;
            const x = Math.round(i % columns * canvas.width / columns);
            const next = Math.round((i % columns + 1) * canvas.width / columns);
            const y = Math.round(Math.floor(i / columns) * CELL_HEIGHT * scale);
            const area = [x, y, next - x - gap, CELL_HEIGHT * scale - gap];
            context.globalAlpha = 1;
            context.fillStyle = cold;
            context.fillRect(...area);
            if (!value)
                continue;
            context.globalAlpha = 0.3 + 0.7 * value / 255;
            context.fillStyle = hot;
            context.fillRect(...area);
        }
    }
}

// A power of two, so that a row is a round part of the image.
function columnsFor(count, width) {
    const most = Math.max(1, Math.min(count, width / CELL_WIDTH, Math.sqrt(count * 24)));
    return 2 ** Math.floor(Math.log2(most));
}
