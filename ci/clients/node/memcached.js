// memcached (npm): memcached's text protocol.

'use strict';

const assert = require('node:assert');
const { promisify } = require('node:util');
const Memcached = require('memcached');
const { Client, address, finish, version } = require('./harness');

(async () => {
    const client = new Client('memcached.js', version('memcached'), 'memcached text');
    const cache = new Memcached(address, { timeout: 10000, retries: 0, poolSize: 4 });
    const call = (name, ...args) => promisify(cache[name].bind(cache))(...args);

    await client.step('flush_all', async () => {
        await call('set', 'gone', '1', 0);
        await call('flush');
        assert.equal(await call('get', 'gone'), undefined);
    });

    await client.step('get, set', async () => {
        for (const value of ['Ada', 7, { a: [1, 2] }, Buffer.from([0, 13, 10, 255])]) {
            assert.equal(await call('set', 'user:1', value, 60), true);
            assert.deepEqual(await call('get', 'user:1'), value);
        }
    });

    await client.step('binary values, 1 MB', async () => {
        const value = Buffer.alloc(1000 * 1000, 'words');
        await call('set', 'large', value, 60);
        assert.ok(value.equals(await call('get', 'large')));
    });

    await client.step('multiget', async () => {
        await Promise.all(Array.from({ length: 100 }, (_, i) => call('set', `m:${i}`, String(i), 60)));
        const got = await call('getMulti', Array.from({ length: 110 }, (_, i) => `m:${i}`));
        assert.deepEqual(got, Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`m:${i}`, String(i)])));
    });

    await client.step('add, replace', async () => {
        await call('del', 'fresh');
        await assert.rejects(call('replace', 'fresh', '0', 60), /not stored/);
        assert.equal(await call('add', 'fresh', '1', 60), true);
        await assert.rejects(call('add', 'fresh', '2', 60), /not stored/);
        assert.equal(await call('replace', 'fresh', '3', 60), true);
    });

    await client.step('append, prepend', async () => {
        assert.equal(await call('append', 'fresh', '4'), true);
        assert.equal(await call('prepend', 'fresh', '2'), true);
        assert.equal(await call('get', 'fresh'), '234');
    });

    await client.step('gets, cas', async () => {
        const { cas } = await call('gets', 'fresh');
        assert.equal(await call('cas', 'fresh', 'new', cas, 60), true);
        assert.equal(await call('cas', 'fresh', 'newer', cas, 60), false);
    });

    await client.step('incr, decr', async () => {
        await call('set', 'n', '10', 60);
        assert.deepEqual([await call('incr', 'n', 5), await call('decr', 'n', 1)], [15, 14]);
        assert.equal(await call('incr', 'none', 1), false);
    });

    await client.step('touch', async () => {
        assert.equal(await call('touch', 'fresh', 600), true);
        assert.equal(await call('touch', 'none', 600), false);
    });

    await client.step('delete', async () => {
        assert.equal(await call('del', 'fresh'), true);
        assert.equal(await call('del', 'fresh'), false);
    });

    await client.step('stats, version', async () => {
        const [numbers] = await call('stats');
        assert.ok(numbers.cmd_get > 0, JSON.stringify(numbers));
        const [found] = await call('version');
        assert.ok(found.version);
    });

    cache.end();
    finish();
})();
