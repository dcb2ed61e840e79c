"""The tables that bench/run prints."""
import statistics

from ground import Link

LINK = Link._fields
KEY = ('scheme', *LINK, 'workload', 'peer')
LESS_IS_BETTER = ('ms', 's', 'RTT')


def complete(rows):
    """Rows of an earlier program lack what a link had no choice of then."""
    return [{**Link()._asdict(), **row} for row in rows]


def link_of(row):
    return Link(*[row[name] for name in LINK])


def ideal(row):
    """What a perfect proxy could do on this link: (value, words), or None."""
    if row['rtt'] == 0:
        return None
    if row['workload'] == 'first':
        return 3 * row['rtt'], '3 RTT'
    if row['workload'].startswith('rand'):
        depth = int(row['workload'][4:])
        return depth * 1000 / row['rtt'], f"{depth if depth > 1 else 1}/RTT"
    return None


def best_of(row, same):
    others = [r['value'] for r in same if r['peer'] not in ('curl', 'nbd-proxy')]
    return (min if row['unit'] in LESS_IS_BETTER else max)(others) if others else None


def compare(row, rows):
    same = [r for r in rows if 'value' in r and all(r[k] == row[k] for k in KEY if k != 'peer')]
    parts = []
    yard = next((r for r in same if r['peer'] == 'curl'), None)
    if yard and row['peer'] != 'curl':
        parts.append(f"{row['value'] / yard['value']:.2f} of curl")
    limit = ideal(row)
    if limit:
        parts.append(f"{row['value'] / limit[0]:.2f} of {limit[1]}")
    best = best_of(row, same)
    if best and row['peer'] == 'nbd-proxy':
        parts.append(f"{row['value'] / best:.2f} of the best peer")
    if 'each' in row:
        parts.append(f"slots {min(row['each']):.1f} to {max(row['each']):.1f} MB/s")
    return ', '.join(parts)


def number(value, digits=1):
    return '-' if value is None else f'{value:.{digits}f}'


# ---- tables: each is a title line, and the cells of a row after link and program ----

def over(row):
    return row['link']['down'] / row['read']['bytes'] if row['link'] and row['read']['bytes'] > 1e5 else None


def live_cells(row, rows):
    link, read = row['link'] or {}, row['read']
    return [f"{row['value']:.2f}", read.get('stalls', '-'), number(read.get('stalled'), 2), number(read.get('max_ms'), 0),
            number(link['down'] / 1e6 if link else None), number(over(row), 2), link.get('connections', '-'), number(row['rss_mib']),
            compare(row, rows)]


def beside_cells(row, _rows):
    return [*(f"{row['rtts'][key]:.2f}" for key in ('p50', 'p99', 'max')), f"{row['stream']:.2f}", number(row['rss_mib'])]


def cells(row, rows):
    return [f"{row['value']:.1f} {row['unit']}", number(row['cpu_s_per_gb'], 2) if row['workload'].startswith('seq') else '-',
            number(row['rss_mib']), number(over(row), 2), compare(row, rows)]


#  the workload (None: all others): the columns, their sides, the cells
TABLES = {
    'live': ('beyond a file, s | reads over 20 ms | in them, s | worst, ms | down, MB | down / read | connections | max RSS MiB | compared',
             '---:|---:|---:|---:|---:|---:|---:|---:|---', live_cells),
    'beside': ('median, RTT | 99 %, RTT | worst, RTT | the stream, MB/s | max RSS MiB', '---:|---:|---:|---:|---:', beside_cells),
    None: ('result | CPU s/GB | max RSS MiB | down the link / read | compared', '---:|---:|---:|---:|---', cells),
}


def in_groups(rows):
    """The programs of one link and workload stand together, where the first of them stood."""
    keys = [tuple(row[k] for k in KEY if k != 'peer') for row in rows]
    return [row for _, row in sorted(zip(keys, rows), key=lambda pair: keys.index(pair[0]))]


def table(rows, workload):
    title, sides, function = TABLES[workload]
    lines = [f'| link | workload | program | {title} |', f'|---|---|---|{sides}|']
    for row in in_groups(rows):
        link = f"{row['scheme']}, {link_of(row).words()}"
        what = [f"failed: {' '.join(row['error'].split())}", *[''] * title.count('|')] if 'error' in row else function(row, rows)
        lines.append('| ' + ' | '.join(str(x) for x in [link, row['workload'], row['peer'], *what]) + ' |')
    return lines


def markdown(rows):
    lines = []
    for workload in TABLES:
        mine = [r for r in rows if (r['workload'] if r['workload'] in TABLES else None) == workload]
        lines += [*table(mine, workload), ''] if mine else []
    idle = [r['idle_mib'] for r in rows if r.get('idle_mib')]
    if idle:
        lines += [f'nbd-proxy with no image: {statistics.median(idle):.1f} MiB RSS.']
    return '\n'.join(lines)
