// ioredis, as applications use it: pipelines, transactions, scripts as commands, subscriptions.

'use strict';

const assert = require('node:assert');
const { Redis } = require('ioredis');
const { Client, finish, port, until, version } = require('./harness');

(async () => {
    const client = new Client('ioredis', version('ioredis'), 'Redis');
    const options = { host: '127.0.0.1', port, db: 8, maxRetriesPerRequest: 1 };
    const cache = new Redis(options);

    await client.step('PING, FLUSHDB, DBSIZE', async () => {
        assert.equal(await cache.ping(), 'PONG');
        await cache.flushdb();
        assert.equal(await cache.dbsize(), 0);
    });

    await client.step('GET, SET EX', async () => {
        assert.equal(await cache.set('user:1', 'Ada', 'EX', 60), 'OK');
        assert.equal(await cache.get('user:1'), 'Ada');
        assert.equal(await cache.get('none'), null);
        assert.equal(await cache.setex('user:2', 60, 'Grace'), 'OK');
    });

    await client.step('binary keys and values, 1 MiB', async () => {
        const key = Buffer.from([0, 13, 10, 255]);
        const value = Buffer.alloc(1 << 20, key);
        await cache.set(key, value);
        assert.ok(value.equals(await cache.getBuffer(key)));
    });

    await client.step('SET NX PX, XX GET', async () => {
        assert.equal(await cache.set('lock', 'me', 'PX', 30000, 'NX'), 'OK');
        assert.equal(await cache.set('lock', 'you', 'PX', 30000, 'NX'), null);
        assert.equal(await cache.set('lock', 'again', 'XX', 'GET'), 'me');
    });

    await client.step('GETEX, GETDEL, PERSIST', async () => {
        assert.equal(await cache.getex('user:1', 'EX', 100), 'Ada');
        assert.equal(await cache.persist('user:1'), 1);
        assert.equal(await cache.getdel('user:1'), 'Ada');
    });

    await client.step('MGET, MSET', async () => {
        assert.equal(await cache.mset({ a: 1, b: 2 }), 'OK');
        assert.deepEqual(await cache.mget('a', 'none', 'b'), ['1', null, '2']);
    });

    await client.step('INCR, DECR, INCRBYFLOAT', async () => {
        assert.deepEqual([await cache.incr('n'), await cache.incrby('n', 9), await cache.decr('n')], [1, 10, 9]);
        assert.equal(Number(await cache.incrbyfloat('f', 0.5)), 0.5);
        await assert.rejects(cache.incr('lock'), /not an integer/);
    });

    await client.step('EXPIRE, TTL', async () => {
        assert.equal(await cache.expire('a', 100, 'NX'), 1);
        assert.equal(await cache.expire('a', 100, 'NX'), 0);
        assert.equal(await cache.ttl('none'), -2);
    });

    await client.step('DEL, UNLINK, EXISTS', async () => {
        assert.deepEqual([await cache.exists('a', 'b'), await cache.del('a', 'none'), await cache.unlink('b')], [2, 1, 1]);
    });

    await client.step('pipeline', async () => {
        const pipe = cache.pipeline();
        for (let i = 0; i < 1000; i += 1) pipe.set(`p:${i}`, i).get(`p:${i}`);
        const got = (await pipe.exec()).filter((_, i) => i % 2).map(([error, value]) => error || value);
        assert.deepEqual(got, Array.from({ length: 1000 }, (_, i) => String(i)));
        // Commands of one tick go out together, unasked.
        const automatic = new Redis({ ...options, enableAutoPipelining: true });
        assert.deepEqual(await Promise.all([automatic.get('p:1'), automatic.get('p:2')]), ['1', '2']);
        automatic.disconnect();
    });

    await client.step('SCAN, KEYS', async () => {
        const found = new Set();
        for await (const keys of cache.scanStream({ match: 'p:*', count: 100 })) keys.forEach((key) => found.add(key));
        assert.equal(found.size, 1000);
        assert.equal((await cache.keys('p:99?')).length, 10);
    });

    await client.step('MULTI/EXEC', async () => {
        assert.deepEqual(await cache.multi().set('t', 1).incr('t').get('t').exec(), [[null, 'OK'], [null, 2], [null, '2']]);
        await assert.rejects(cache.multi().incr('t').call('GET').exec(), /EXECABORT/);
        assert.equal(await cache.get('t'), '2');
    });

    await client.step('WATCH', async () => {
        const other = new Redis(options);
        await other.watch('t');
        await cache.set('t', 5);
        assert.equal(await other.multi().set('t', 6).exec(), null);
        assert.equal(await cache.get('t'), '5');
        other.disconnect();
    });

    await client.step('EVAL, EVALSHA, SCRIPT LOAD', async () => {
        assert.deepEqual(await cache.eval('return {KEYS[1], ARGV[1], 7}', 1, 'k', 'v'), ['k', 'v', 7]);
        // EVALSHA first, and EVAL when the server does not know the script.
        cache.defineCommand('addWithLimit', {
            numberOfKeys: 1,
            lua: "local n = redis.call('INCR', KEYS[1]) if n == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end return n",
        });
        assert.deepEqual([await cache.addWithLimit('window', 60000), await cache.addWithLimit('window', 60000)], [1, 2]);
        assert.ok((await cache.pttl('window')) > 50000);
    });

    await client.step('PUBLISH, SUBSCRIBE', async () => {
        const listener = new Redis(options);
        const got = [];
        listener.on('message', (channel, message) => got.push([channel, message]));
        assert.equal(await listener.subscribe('news', 'other'), 2);
        assert.equal(await cache.publish('news', 'hello'), 1);
        await until(() => got.length === 1, 'a message');
        assert.deepEqual(got, [['news', 'hello']]);
        assert.equal(await listener.unsubscribe('news'), 1);
        listener.disconnect();
    });

    await client.step('PSUBSCRIBE, PUBSUB', async () => {
        const listener = new Redis(options);
        const got = [];
        listener.on('pmessage', (...message) => got.push(message));
        await listener.psubscribe('news.*');
        await cache.publish('news.all', 'hello');
        await until(() => got.length === 1, 'a message');
        assert.deepEqual(got, [['news.*', 'news.all', 'hello']]);
        listener.disconnect();
    });

    await client.step('INFO, CONFIG GET, CLIENT', async () => {
        assert.match(await cache.info('server'), /redis_version:/);
        assert.equal((await cache.config('GET', 'maxmemory'))[0] ?? 'maxmemory', 'maxmemory');
        await cache.client('SETNAME', 'application');
        assert.equal(await cache.client('GETNAME'), 'application');
    });

    finish();
})();
