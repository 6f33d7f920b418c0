"""How explain.html looks, and what its script does."""

LOOK = """
body { max-width: 1120px; }
.stage { position: sticky; top: 0; background: var(--paper); z-index: 1; padding: 8px 0;
  border-bottom: 1px solid var(--line); }
video { display: block; width: 100%; max-height: 44vh; background: #000; border-radius: 8px; }
.script { display: none; } .ready .script { display: block; }
.readout { font-variant-numeric: tabular-nums; font-size: 14px; margin: 6px 0 0; }
.hint { font-size: 13px; margin: 8px 0 0; }
.readout b { font-weight: 600; } .readout span { margin-right: 18px; white-space: nowrap; }
section h2 { margin-top: 26px; } section p { font-size: 13px; margin: 0 0 4px; }
.strips { min-width: 640px; cursor: crosshair; touch-action: pan-y; }
svg.strip { max-width: none; margin: 0; }
svg .soft { fill: var(--soft); } svg .paper { fill: var(--paper); }
svg .change { stroke: var(--main); stroke-width: 1.5; fill: none; stroke-linejoin: round; }
svg .presence { stroke: var(--main); stroke-width: 2; fill: none; stroke-linejoin: round; }
svg .quality { stroke: var(--good); stroke-width: 1.5; fill: none; stroke-linejoin: round; }
svg .area { fill: var(--soft); fill-opacity: .18; }
svg .cut { stroke: var(--bad); stroke-width: 1.2; stroke-opacity: .75; }
svg .asked { stroke: var(--soft); stroke-width: 1; stroke-dasharray: 1 3; }
svg .flag { fill: var(--ask); } svg .stay { fill: var(--ask); }
svg .now { stroke: var(--ink); stroke-width: 1.2; display: none; }
.ready svg .now { display: inline; }
:root { --ask: #8a5a00; }
@media (prefers-color-scheme: dark) { :root { --ask: #d9a441; } }
.key { display: inline-block; width: 16px; height: 0; border-top: 3px solid; vertical-align: 3px; }
.key.presence { color: var(--main); } .key.quality { color: var(--good); }
.key.cut { width: 0; height: 12px; border: 0; border-left: 2px solid var(--bad);
  vertical-align: -2px; }
.key.area { height: 10px; border: 0; background: var(--soft); opacity: .35; vertical-align: -1px; }
.key.stay { height: 10px; border: 0; border-radius: 3px; background: var(--ask);
  vertical-align: -1px; }
.key.flag { width: 0; border: 5px solid transparent; border-top: 8px solid var(--ask);
  border-bottom: 0; vertical-align: 1px; }
.swatch { display: inline-block; width: 15px; height: 15px; border-radius: 4px; margin-right: 8px;
  border: 1px solid var(--line); vertical-align: -2px; }
.bank { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 14px; }
.bank figure { margin: 0; } .bank img { width: 100%; border-radius: 6px; }
.bank figcaption { margin-top: 4px; line-height: 1.35; } .bank b { color: var(--ink); }
.blank { display: grid; place-items: center; aspect-ratio: 16/9; background: var(--wash);
  border: 1px dashed var(--line); border-radius: 6px; color: var(--soft); font-size: 12px; }
@media print { .stage, .script, .ready .script, .ready svg .now { display: none; }
  section { break-inside: avoid; }
  .strips { min-width: 0; } .bank { grid-template-columns: repeat(5, 1fr); }
  :root { --ask: #8a5a00; } }
"""

# Seeks the video where the pointer is, and says the values of that frame.
SCRIPT = """
(() => {
  const data = JSON.parse(document.getElementById('data').textContent);
  const video = document.querySelector('video'), readout = document.getElementById('readout');
  const { width, left, right, span } = data.axis;
  const step = (width - left - right) / (span[1] - span[0] + 1);
  const lines = document.querySelectorAll('svg .now');
  let here = 0;
  const nearest = (row, value) => {
    let low = 0, high = row.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (row[middle] <= value) low = middle; else high = middle - 1;
    }
    return low;
  };
  const say = (name, value) => value == null ? '' : ` ${name} <b>${value.toFixed(2)}</b>`;
  const show = place => {
    here = place;
    const frame = data.frames[place], x = left + (frame - span[0] + 0.5) * step;
    lines.forEach(line => line.setAttribute('transform', `translate(${x - left} 0)`));
    let text = `<span>frame <b>${frame}</b>, <b>${data.seconds[place].toFixed(2)}</b> s</span>`;
    text += ` <span>${say('distance', data.distance[place])}</span>`;
    for (const [id, [presence, quality, share]] of Object.entries(data.objects))
      if (presence[place] != null)
        text += ` <span>object ${id}:${say('score', presence[place])}` +
          `${say('IoU', quality[place])}` +
          ` area <b>${(100 * share[place]).toFixed(2)} %</b></span>`;
    readout.innerHTML = text;
  };
  const seek = place => {
    show(place);
    if (!video) return;
    const next = data.seconds[place + 1] ?? data.seconds[place] + 0.02;
    video.currentTime = data.seconds[place] + 0.3 * (next - data.seconds[place]);
  };
  const under = (strips, event) => {
    const box = strips.getBoundingClientRect();
    const x = (event.clientX - box.left) * width / box.width;
    return nearest(data.frames, span[0] + (x - left) / step);
  };
  document.querySelectorAll('.strips').forEach(strips => {
    strips.addEventListener('pointermove', event => {
      if (!video || video.paused || event.buttons) seek(under(strips, event));
    });
    strips.addEventListener('pointerdown', event => {
      video?.pause();
      seek(under(strips, event));
    });
  });
  document.querySelectorAll('a[data-frame]').forEach(link => {
    link.addEventListener('click', event => {
      event.preventDefault();
      video.pause();
      seek(nearest(data.frames, +link.dataset.frame));
      video.scrollIntoView({ block: 'nearest' });
    });
  });
  document.addEventListener('keydown', event => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || event.target === video) return;
    event.preventDefault();
    video?.pause();
    seek(Math.min(Math.max(here + by, 0), data.frames.length - 1));
  });
  const follow = () => { if (!video.paused) show(nearest(data.seconds, video.currentTime)); };
  if (video?.requestVideoFrameCallback) {
    const each = () => { follow(); video.requestVideoFrameCallback(each); };
    video.requestVideoFrameCallback(each);
  } else video?.addEventListener('timeupdate', follow);
  document.documentElement.classList.add('ready');
  show(0);
})();
"""
