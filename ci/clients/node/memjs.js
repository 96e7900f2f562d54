// memjs: memcached's binary protocol.

'use strict';

const assert = require('node:assert');
const memjs = require('memjs');
const { Client, address, finish, version } = require('./harness');

(async () => {
    const client = new Client('memjs', version('memjs'), 'memcached binary');
    const cache = memjs.Client.create(address, { timeout: 5, conntimeout: 5 });
    const get = async (key) => {
        const { value } = await cache.get(key);
        return value && value.toString();
    };

    await client.step('flush_all', async () => {
        await cache.set('gone', '1');
        await cache.flush();
        assert.equal(await get('gone'), null);
    });

    await client.step('get, set', async () => {
        assert.ok(await cache.set('user:1', 'Ada', { expires: 60 }));
        assert.equal(await get('user:1'), 'Ada');
        assert.equal(await get('none'), null);
    });

    await client.step('binary values, 1 MB', async () => {
        const value = Buffer.alloc(1000 * 1000, Buffer.from([0, 13, 10, 255]));
        assert.ok(await cache.set('large', value));
        assert.ok(value.equals((await cache.get('large')).value));
    });

    await client.step('add, replace', async () => {
        await cache.delete('fresh');
        assert.equal(await cache.replace('fresh', '0'), false);
        assert.equal(await cache.add('fresh', '1'), true);
        assert.equal(await cache.add('fresh', '2'), false);
        assert.equal(await cache.replace('fresh', '3'), true);
    });

    await client.step('append, prepend', async () => {
        // Its prepend sends APPEND.
        assert.ok(await cache.append('fresh', '4'));
        await assert.rejects(cache.append('none', '4'), /not stored/);
        assert.equal(await get('fresh'), '34');
    });

    await client.step('incr, decr', async () => {
        await cache.delete('n');
        assert.equal((await cache.increment('n', 5, { initial: 10 })).value, 10);
        assert.equal((await cache.increment('n', 5, { initial: 10 })).value, 15);
        assert.equal((await cache.decrement('n', 1, { initial: 10 })).value, 14);
    });

    await client.step('touch', async () => {
        assert.equal(await cache.touch('fresh', 600), true);
        assert.equal(await cache.touch('none', 600), false);
    });

    await client.step('delete', async () => {
        assert.equal(await cache.delete('fresh'), true);
        assert.equal(await cache.delete('fresh'), false);
    });

    await client.step('stats, version', async () => {
        const numbers = await new Promise((resolve, reject) => {
            cache.stats((error, _server, stats) => (error ? reject(error) : resolve(stats)));
        });
        assert.ok(Number(numbers.cmd_get) > 0, JSON.stringify(numbers));
    });

    cache.close();
    finish();
})();
