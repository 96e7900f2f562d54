// node-redis, as applications use it: RESP3 and RESP2, its pool, its client-side cache.

'use strict';

const assert = require('node:assert');
const { createClient, createClientPool, BasicClientSideCache, WatchError } = require('redis');
const { Client, finish, port, until, version } = require('./harness');

async function application(client, RESP) {
    const url = `redis://127.0.0.1:${port}/7`;
    const cache = await createClient({ url, RESP }).on('error', console.error).connect();

    await client.step('PING, FLUSHDB, DBSIZE', async () => {
        assert.equal(await cache.ping(), 'PONG');
        await cache.flushDb();
        assert.equal(await cache.dbSize(), 0);
    });

    await client.step('GET, SET EX', async () => {
        assert.equal(await cache.set('user:1', 'Ada', { expiration: { type: 'EX', value: 60 } }), 'OK');
        assert.equal(await cache.get('user:1'), 'Ada');
        assert.equal(await cache.get('none'), null);
        assert.equal(await cache.ttl('user:1'), 60);
        assert.equal(await cache.setEx('user:2', 60, 'Grace'), 'OK');
    });

    await client.step('binary keys and values, 1 MiB', async () => {
        const value = Buffer.alloc(1 << 20, Buffer.from(Array.from({ length: 251 }, (_, i) => i)));
        const buffers = cache.withTypeMapping({ [require('redis').RESP_TYPES.BLOB_STRING]: Buffer });
        await buffers.set('binary', value);
        assert.ok(value.equals(await buffers.get('binary')));
    });

    await client.step('SET NX PX, XX GET', async () => {
        const lock = { condition: 'NX', expiration: { type: 'PX', value: 30000 } };
        assert.equal(await cache.set('lock', 'me', lock), 'OK');
        assert.equal(await cache.set('lock', 'you', lock), null);
        assert.equal(await cache.set('lock', 'again', { condition: 'XX', GET: true }), 'me');
    });

    await client.step('GETEX, GETDEL, PERSIST', async () => {
        assert.equal(await cache.getEx('user:1', { type: 'EX', value: 100 }), 'Ada');
        assert.equal(Number(await cache.persist('user:1')), 1);
        assert.equal(await cache.getDel('user:1'), 'Ada');
    });

    await client.step('MGET, MSET', async () => {
        assert.equal(await cache.mSet({ a: '1', b: '2' }), 'OK');
        assert.deepEqual(await cache.mGet(['a', 'none', 'b']), ['1', null, '2']);
    });

    await client.step('INCR, DECR, INCRBYFLOAT', async () => {
        assert.equal(await cache.incr('n'), 1);
        assert.equal(await cache.incrBy('n', 9), 10);
        assert.equal(await cache.decr('n'), 9);
        assert.equal(Number(await cache.incrByFloat('f', 0.5)), 0.5);
        await assert.rejects(cache.incr('lock'), /not an integer/);
    });

    await client.step('EXPIRE, TTL', async () => {
        assert.equal(Number(await cache.expire('a', 100, 'NX')), 1);
        assert.equal(Number(await cache.expire('a', 100, 'NX')), 0);
        assert.ok((await cache.pTTL('a')) > 99000);
    });

    await client.step('DEL, UNLINK, EXISTS', async () => {
        assert.equal(await cache.exists(['a', 'b', 'none']), 2);
        assert.equal(await cache.del(['a', 'none']), 1);
        assert.equal(await cache.unlink('b'), 1);
    });

    await client.step('pipeline', async () => {
        // Commands of one tick go out together.
        await Promise.all(Array.from({ length: 1000 }, (_, i) => cache.set(`p:${i}`, String(i))));
        const got = await Promise.all(Array.from({ length: 1000 }, (_, i) => cache.get(`p:${i}`)));
        assert.deepEqual(got, Array.from({ length: 1000 }, (_, i) => String(i)));
    });

    await client.step('SCAN, KEYS', async () => {
        const found = new Set();
        for await (const keys of cache.scanIterator({ MATCH: 'p:*', COUNT: 100 })) keys.forEach((key) => found.add(key));
        assert.equal(found.size, 1000);
        assert.equal((await cache.keys('p:99?')).length, 10);
    });

    await client.step('MULTI/EXEC', async () => {
        assert.deepEqual(await cache.multi().set('t', '1').incr('t').get('t').exec(), ['OK', 2, '2']);
        await assert.rejects(cache.multi().incr('t').addCommand(['GET']).exec());
        assert.equal(await cache.get('t'), '2');
    });

    await client.step('WATCH', async () => {
        const pool = await createClientPool({ url, RESP }).connect();
        await pool.execute(async (one) => {
            await one.watch('t');
            await cache.set('t', '5');
            await assert.rejects(one.multi().set('t', '6').exec(), WatchError);
        });
        await pool.close();
        assert.equal(await cache.get('t'), '5');
    });

    await client.step('EVAL, EVALSHA, SCRIPT LOAD', async () => {
        const options = { keys: ['k'], arguments: ['v'] };
        assert.deepEqual(await cache.eval('return {KEYS[1], ARGV[1], 7}', options), ['k', 'v', 7]);
        const sha = await cache.scriptLoad("return redis.call('INCRBY', KEYS[1], ARGV[1])");
        assert.equal(await cache.evalSha(sha, { keys: ['counted'], arguments: ['4'] }), 4);
        await assert.rejects(cache.evalSha('0'.repeat(40), options), /NOSCRIPT/);
    });

    await client.step('PUBLISH, SUBSCRIBE', async () => {
        const listener = await cache.duplicate().connect();
        const got = [];
        await listener.subscribe('news', (message, channel) => got.push([channel, message]));
        assert.equal(await cache.publish('news', 'hello'), 1);
        await until(() => got.length === 1, 'a message');
        assert.deepEqual(got, [['news', 'hello']]);
        if (RESP === 3) assert.equal(await listener.ping(), 'PONG');
        await listener.unsubscribe('news');
        assert.equal(await cache.publish('news', 'nobody'), 0);
        await listener.close();
    });

    await client.step('PSUBSCRIBE, PUBSUB', async () => {
        const listener = await cache.duplicate().connect();
        const got = [];
        await listener.pSubscribe('news.*', (message, channel) => got.push([channel, message]));
        assert.equal(await cache.pubSubNumPat(), 1);
        await cache.publish('news.all', 'hello');
        await until(() => got.length === 1, 'a message');
        assert.deepEqual(got, [['news.all', 'hello']]);
        await listener.close();
    });

    await client.step('INFO, CONFIG GET, CLIENT', async () => {
        assert.match(await cache.info('server'), /redis_version:/);
        assert.ok('maxmemory' in (await cache.configGet('maxmemory')));
        await cache.clientSetName('application');
        assert.equal(await cache.clientGetName(), 'application');
        assert.ok((await cache.clientList()).some((peer) => peer.name === 'application'));
    });

    await cache.close();
}

async function clientSideCache(client) {
    await client.step('CLIENT TRACKING (client-side cache)', async () => {
        const url = `redis://127.0.0.1:${port}/0`;
        const kept = new BasicClientSideCache({ ttl: 0, maxEntries: 100, evictPolicy: 'LRU' });
        const near = await createClient({ url, RESP: 3, clientSideCache: kept }).connect();
        const far = await createClient({ url }).connect();
        await far.set('tracked', 'old');
        assert.equal(await near.get('tracked'), 'old');
        assert.equal(await near.get('tracked'), 'old');
        assert.ok(kept.stats().hitCount >= 1);
        await far.set('tracked', 'new');
        await until(async () => (await near.get('tracked')) === 'new', 'the new value');
        await far.flushDb();
        await until(async () => (await near.get('tracked')) === null, 'the end of it');
        await near.close();
        await far.close();
    });
}

(async () => {
    await application(new Client('node-redis', version('redis'), 'Redis', 'RESP3'), 3);
    await application(new Client('node-redis', version('redis'), 'Redis', 'RESP2'), 2);
    await clientSideCache(new Client('node-redis', version('redis'), 'Redis', 'RESP3'));
    finish();
})();
