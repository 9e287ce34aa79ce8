// The suite's half that lives in the page: browser.test.mjs calls what is put on window here.

import { assert, cases, place } from './suite.mjs';

const inBrowserOnly = {
  async 'a page may read statistics'(at) {
    const client = await at.client();
    await client.lock({ type: 'write', path: ['a'] });
    const answer = await fetch(`http://${at.plain}/stats?namespace=${encodeURIComponent(at.space)}`, { headers: { 'x-asks': 'first' } });
    assert.equal(answer.status, 200);
    assert.equal((await answer.json()).GroupsAcquired, 1);
  },

  async 'a page of an origin that is not allowed is kept out'(at) {
    const [host, port] = at.locked.split(':');
    let error;
    await at.client({ host, port }).catch((err) => { error = err; });
    assert.ok(/Handshake/.test(error?.message), 'a failed handshake');
    await assert.fails(() => fetch(`http://${at.locked}/`), /fetch/);
  },
};

const all = { ...cases, ...inBrowserOnly };

window.caseNames = () => Object.keys(all);

// runCase resolves with what went wrong, "" for nothing.
window.runCase = async (name, addresses) => {
  const at = place('browser', WebSocket, addresses, name);
  try {
    await all[name](at);
    return '';
  } catch (err) {
    return String(err.stack || err);
  } finally {
    at.leave();
  }
};
