// Viewers of WebRTC as they are found in the wild, each after what its original does: `window.viewers[kind]`
// takes the address that its users configure and a video element. `report.asked()` is called when the offer
// (or the request for one) leaves, `report.problem()` for what would make the original begin anew.

/** @typedef {{ asked: () => void, problem: (text: string) => void }} Report */
/** @typedef {{ close: () => void | Promise<void> }} Viewer */

(() => {
  /** @param {string} url */
  const withWhep = (url) => `${url.replace(/\/$/, '')}/whep`;

  /** @param {RTCPeerConnection} pc */
  const gathered = (pc) => new Promise((resolve) => {
    if (pc.iceGatheringState === 'complete') return resolve(undefined);
    pc.addEventListener('icegatheringstatechange', () => { if (pc.iceGatheringState === 'complete') resolve(undefined); });
    return setTimeout(resolve, 2000);
  });

  /** @param {RTCPeerConnection} pc @param {Report} report */
  const watchState = (pc, report) => pc.addEventListener('connectionstatechange', () => {
    if (['failed', 'disconnected'].includes(pc.connectionState)) report.problem(`connection ${pc.connectionState}`);
  });

  /** @param {string | null} links */
  const iceServers = (links) => (links ?? '').split(', ').filter(Boolean).map((link) => {
    const found = /^<(.+?)>; rel="ice-server"/i.exec(link);
    if (!found) throw new Error(`a Link that MediaMTX's readers cannot take apart: ${link}`);
    return { urls: [found[1]] };
  });

  /**
   * The fragment that MediaMTX's readers write.
   * @param {string} offer @param {RTCIceCandidate[]} candidates
   */
  function fragment(offer, candidates) {
    const lines = offer.split('\r\n');
    const first = (/** @type {string} */ start) => lines.find((line) => line.startsWith(start)) ?? '';
    let text = `${first('a=ice-ufrag:')}\r\n${first('a=ice-pwd:')}\r\n`;
    lines.filter((line) => line.startsWith('m=')).forEach((media, index) => {
      const own = candidates.filter((candidate) => candidate.sdpMLineIndex === index);
      if (own.length) text += `${media}\r\na=mid:${index}\r\n${own.map((candidate) => `a=${candidate.candidate}\r\n`).join('')}`;
    });
    return text;
  }

  /**
   * WHEP by the book: Location resolved against the request, candidates trickled, DELETE at the end.
   * @param {string} url the WHEP endpoint @param {HTMLVideoElement} video @param {Report} report
   * @returns {Promise<Viewer>}
   */
  async function whep(url, video, report) {
    const pc = new RTCPeerConnection();
    watchState(pc, report);
    pc.addTransceiver('video', { direction: 'recvonly' });
    pc.ontrack = (event) => { video.srcObject = event.streams[0]; };
    const offer = await pc.createOffer();
    /** @type {RTCIceCandidate[]} */
    const early = [];
    let send = (/** @type {RTCIceCandidate} */ candidate) => { early.push(candidate); };
    pc.onicecandidate = ({ candidate }) => { if (candidate) send(candidate); };
    await pc.setLocalDescription(offer);
    report.asked();
    const answer = await fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/sdp' }, body: offer.sdp });
    if (answer.status !== 201) throw new Error(`${answer.status}: ${await answer.text()}`);
    const session = new URL(answer.headers.get('Location') ?? '', url);
    const etag = answer.headers.get('ETag') ?? '';
    await pc.setRemoteDescription({ type: 'answer', sdp: await answer.text() });
    send = async (candidate) => {
      const patched = await fetch(session, {
        method: 'PATCH',
        headers: { 'Content-Type': 'application/trickle-ice-sdpfrag', 'If-Match': etag },
        body: fragment(offer.sdp ?? '', [candidate]),
      });
      if (patched.status !== 204) report.problem(`PATCH ${patched.status}: ${await patched.text()}`);
    };
    early.forEach(send);
    return {
      close: async () => {
        const deleted = await fetch(session, { method: 'DELETE' });
        if (deleted.status !== 200) report.problem(`DELETE ${deleted.status}`);
        pc.close();
      },
    };
  }

  /**
   * The least that any server of WHEP takes: an offer with whatever is gathered, no PATCH, no DELETE.
   * @param {string} url @param {HTMLVideoElement} video @param {Report} report
   * @returns {Promise<Viewer>}
   */
  async function whepPlain(url, video, report) {
    const pc = new RTCPeerConnection();
    watchState(pc, report);
    pc.addTransceiver('video', { direction: 'recvonly' });
    pc.ontrack = (event) => { video.srcObject = event.streams[0]; };
    await pc.setLocalDescription(await pc.createOffer());
    await gathered(pc);
    report.asked();
    const answer = await fetch(url, {
      method: 'POST', headers: { 'Content-Type': 'application/sdp' }, body: pc.localDescription?.sdp,
    });
    if (answer.status !== 201) throw new Error(`${answer.status}: ${await answer.text()}`);
    await pc.setRemoteDescription({ type: 'answer', sdp: await answer.text() });
    return { close: () => pc.close() };
  }

  /**
   * Mainsail's webrtc-mediamtx: OPTIONS for the ICE servers, video and audio sendrecv, the local description
   * set after the answer came, PATCH at its own URL with the last segment of Location and the ETag.
   * @param {string} streamUrl @param {HTMLVideoElement} video @param {Report} report
   * @returns {Promise<Viewer>}
   */
  async function mainsail(streamUrl, video, report) {
    const url = withWhep(streamUrl);
    const options = await fetch(url, { method: 'OPTIONS' });
    if (options.status !== 204) report.problem(`OPTIONS ${options.status}`);
    const pc = new RTCPeerConnection({ iceServers: iceServers(options.headers.get('Link')) });
    pc.addTransceiver('video', { direction: 'sendrecv' });
    pc.addTransceiver('audio', { direction: 'sendrecv' });
    watchState(pc, report);
    pc.ontrack = (event) => { video.srcObject = event.streams[0]; };
    const offer = await pc.createOffer();
    report.asked();
    const answer = await fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/sdp' }, body: offer.sdp });
    if (answer.status !== 201) throw new Error(`${answer.status}: ${await answer.text()}`);
    const etag = answer.headers.get('ETag');
    const location = answer.headers.get('Location') ?? '';
    const session = location.substring(location.lastIndexOf('/') + 1);
    pc.onicecandidate = async ({ candidate }) => {
      if (candidate === null) return;
      const patched = await fetch(`${url}/${session}`, {
        method: 'PATCH',
        headers: { 'Content-Type': 'application/trickle-ice-sdpfrag', 'If-Match': String(etag) },
        body: fragment(offer.sdp ?? '', [candidate]),
      });
      if (patched.status !== 204) report.problem(`PATCH ${patched.status}: ${await patched.text()}`);
    };
    pc.setLocalDescription(offer);
    await pc.setRemoteDescription({ type: 'answer', sdp: await answer.text() });
    return { close: () => pc.close() };
  }

  /**
   * Fluidd's webrtc-mediamtx: video recvonly, `If-Match: *`.
   * @param {string} streamUrl @param {HTMLVideoElement} video @param {Report} report
   * @returns {Promise<Viewer>}
   */
  async function fluidd(streamUrl, video, report) {
    const url = withWhep(streamUrl);
    const options = await fetch(url, { method: 'OPTIONS' });
    const pc = new RTCPeerConnection({ iceServers: iceServers(options.headers.get('Link')) });
    pc.addTransceiver('video', { direction: 'recvonly' });
    watchState(pc, report);
    pc.ontrack = (event) => { video.srcObject = event.streams[0]; };
    let session = '';
    /** @type {RTCIceCandidate[]} */
    let queued = [];
    const offer = await pc.createOffer();
    const send = async (/** @type {RTCIceCandidate[]} */ candidates) => {
      const patched = await fetch(session, {
        method: 'PATCH',
        headers: { 'Content-Type': 'application/trickle-ice-sdpfrag', 'If-Match': '*' },
        body: fragment(offer.sdp ?? '', candidates),
      });
      if (patched.status !== 204) report.problem(`PATCH ${patched.status}: ${await patched.text()}`);
    };
    pc.onicecandidate = ({ candidate }) => {
      if (candidate === null) return;
      if (session) send([candidate]);
      else queued.push(candidate);
    };
    pc.setLocalDescription(offer);
    report.asked();
    const answer = await fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/sdp' }, body: offer.sdp });
    if (answer.status !== 201) throw new Error(`${answer.status}: ${await answer.text()}`);
    const location = answer.headers.get('Location') ?? '';
    session = `${url}/${location.slice(location.lastIndexOf('/') + 1)}`;
    await pc.setRemoteDescription({ type: 'answer', sdp: await answer.text() });
    if (queued.length) send(queued);
    queued = [];
    return {
      close: async () => {
        await fetch(session, { method: 'DELETE' });
        pc.close();
      },
    };
  }

  /**
   * camera-streamer's signalling as Mainsail and Fluidd have it: the server offers.
   * @param {string} url @param {HTMLVideoElement} video @param {Report} report
   * @returns {Promise<Viewer>}
   */
  async function cameraStreamer(url, video, report) {
    const say = async (/** @type {object} */ message, /** @type {Record<string, string>} */ headers) => {
      const answer = await fetch(url, { method: 'POST', headers, body: JSON.stringify(message) });
      if (answer.status !== 200) report.problem(`${answer.status}: ${await answer.clone().text()}`);
      return answer.json();
    };
    const json = { 'Content-Type': 'application/json' };
    report.asked();
    const offer = await say({ type: 'request', iceServers: null }, {});
    const pc = new RTCPeerConnection({ iceServers: offer.iceServers ?? [] });
    pc.addTransceiver('video', { direction: 'recvonly' });
    watchState(pc, report);
    pc.onicecandidate = ({ candidate }) => {
      if (candidate) say({ id: offer.id, type: 'remote_candidate', candidates: [candidate] }, json);
    };
    pc.ontrack = (event) => { if (event.track.kind === 'video') video.srcObject = event.streams[0]; };
    await pc.setRemoteDescription(offer);
    await pc.setLocalDescription(await pc.createAnswer());
    await say({ type: pc.localDescription?.type, id: offer.id, sdp: pc.localDescription?.sdp }, json);
    return { close: () => pc.close() };
  }

  /**
   * OctoPrint: one JSON there, one back.
   * @param {string} url @param {HTMLVideoElement} video @param {Report} report
   * @returns {Promise<Viewer>}
   */
  async function octoprint(url, video, report) {
    const pc = new RTCPeerConnection();
    pc.addTransceiver('video', { direction: 'recvonly' });
    pc.addTransceiver('audio', { direction: 'recvonly' });
    watchState(pc, report);
    pc.ontrack = (event) => { if (event.track.kind === 'video') video.srcObject = event.streams[0]; };
    await pc.setLocalDescription(await pc.createOffer());
    await gathered(pc);
    report.asked();
    const { sdp, type } = /** @type {RTCSessionDescription} */ (pc.localDescription);
    const answer = await fetch(url, {
      method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ sdp, type }),
    });
    await pc.setRemoteDescription(await answer.json());
    return { close: () => pc.close() };
  }

  /**
   * webrtc-go2rtc of Mainsail and Fluidd: `api/ws` beside the stream's URL, which has `?src=`.
   * @param {string} streamUrl @param {HTMLVideoElement} video @param {Report} report
   * @returns {Promise<Viewer>}
   */
  function go2rtc(streamUrl, video, report) {
    const url = new URL(`api/ws${new URL(streamUrl).search}`, streamUrl);
    url.searchParams.set('media', 'video+audio');
    url.protocol = 'ws:';
    const pc = new RTCPeerConnection();
    const tracks = ['video', 'audio'].map((kind) => pc.addTransceiver(kind, { direction: 'recvonly' }).receiver.track);
    video.srcObject = new MediaStream(tracks);
    watchState(pc, report);
    const socket = new WebSocket(url);
    const say = (/** @type {string} */ type, /** @type {string | undefined} */ value) => socket.send(JSON.stringify({ type, value }));
    socket.onopen = async () => {
      pc.onicecandidate = ({ candidate }) => { if (candidate) say('webrtc/candidate', candidate.candidate); };
      await pc.setLocalDescription(await pc.createOffer());
      report.asked();
      say('webrtc/offer', pc.localDescription?.sdp);
    };
    socket.onmessage = (event) => {
      const { type, value } = JSON.parse(event.data);
      if (type === 'webrtc/candidate') pc.addIceCandidate({ candidate: value, sdpMid: '0' });
      else if (type === 'webrtc/answer') pc.setRemoteDescription({ type: 'answer', sdp: value });
      else report.problem(`${type}: ${value}`);
    };
    socket.onclose = (event) => { if (!event.wasClean) report.problem('the socket broke'); };
    return Promise.resolve({
      close: () => {
        pc.close();
        socket.close();
      },
    });
  }

  /**
   * The real @eyevinn/webrtc-player.
   * @param {string} url @param {HTMLVideoElement} video @param {Report} report
   * @returns {Promise<Viewer>}
   */
  async function eyevinn(url, video, report) {
    const { WebRTCPlayer } = /** @type {any} */ (window).eyevinn;
    const player = new WebRTCPlayer({ video, type: 'whep' });
    for (const name of ['no-media', 'peer-connection-failed', 'connect-error']) player.on(name, () => report.problem(name));
    report.asked();
    await player.load(new URL(url));
    return {
      close: async () => {
        await player.unload();
        player.destroy();
      },
    };
  }

  /** @type {any} */ (window).viewers = { whep, whepPlain, mainsail, fluidd, cameraStreamer, octoprint, go2rtc, eyevinn };
})();
