// Seek the video to the frame under the pointer, and show the values of that frame.
(() => {
  const data = JSON.parse(document.getElementById('data').textContent);
  const video = document.querySelector('video'), readout = document.getElementById('readout');
  const { width, left, right, span } = data.axis;
  const step = (width - left - right) / (span[1] - span[0] + 1);
  const lines = document.querySelectorAll('svg .now');
  let current = 0;
  const nearest = (row, value) => {
    let low = 0, high = row.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (row[middle] <= value) low = middle; else high = middle - 1;
    }
    return low;
  };
  const value = (name, number) => number == null ? '' : ` ${name} <b>${number.toFixed(2)}</b>`;
  const show = place => {
    current = place;
    const frame = data.frames[place], x = left + (frame - span[0] + 0.5) * step;
    lines.forEach(line => line.setAttribute('transform', `translate(${x - left} 0)`));
    let text = `<span>frame <b>${frame}</b>, <b>${data.seconds[place].toFixed(2)}</b> s</span>`;
    text += ` <span>${value('distance', data.distance[place])}</span>`;
    for (const [id, [presence, quality, share]] of Object.entries(data.objects))
      if (presence[place] != null)
        text += ` <span>object ${id}:${value('score', presence[place])}` +
          `${value('IoU', quality[place])}` +
          ` area <b>${(100 * share[place]).toFixed(2)} %</b></span>`;
    readout.innerHTML = text;
  };
  const seek = place => {
    show(place);
    if (!video) return;
    const next = data.seconds[place + 1] ?? data.seconds[place] + 0.02;
    video.currentTime = data.seconds[place] + 0.3 * (next - data.seconds[place]);
  };
  const placeUnder = (strips, event) => {
    const box = strips.getBoundingClientRect();
    const x = (event.clientX - box.left) * width / box.width;
    return nearest(data.frames, span[0] + (x - left) / step);
  };
  document.querySelectorAll('.strips').forEach(strips => {
    strips.addEventListener('pointermove', event => {
      if (!video || video.paused || event.buttons) seek(placeUnder(strips, event));
    });
    strips.addEventListener('pointerdown', event => {
      video?.pause();
      seek(placeUnder(strips, event));
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
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || event.target === video) return;
    event.preventDefault();
    video?.pause();
    seek(Math.min(Math.max(current + step, 0), data.frames.length - 1));
  });
  const follow = () => { if (!video.paused) show(nearest(data.seconds, video.currentTime)); };
  if (video?.requestVideoFrameCallback) {
    const each = () => { follow(); video.requestVideoFrameCallback(each); };
    video.requestVideoFrameCallback(each);
  } else video?.addEventListener('timeupdate', follow);
  document.documentElement.classList.add('ready');
  show(0);
})();
