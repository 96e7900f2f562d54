// What the Node scripts here share: steps that are named, checked, timed out, and reported as one JSON line each, as in ../harness.py.
//
//     const client = new Client('ioredis', version('ioredis'), 'Redis', 'RESP3');
//     await client.step('MGET, MSET', async () => { ... });
//     finish();

'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { parseArgs } = require('node:util');

const { values } = parseArgs({ options: { port: { type: 'string' }, server: { type: 'string', default: 'ours' } } });
const port = Number(values.port);
const address = `127.0.0.1:${port}`;
const ours = values.server === 'ours';
const seconds = 20;

let failures = 0;

/** A client, or one of its modes: a column of the table named. */
class Client {
    constructor(name, version, table, mode = '') {
        this.title = `${name} ${version}${mode && ` (${mode})`}`;
        this.table = table;
    }

    /** Runs the action now. One that fails is reported, and the script goes on. */
    async step(feature, action) {
        let timer;
        const late = new Promise((_, reject) => {
            timer = setTimeout(() => reject(new Error(`no end after ${seconds} s`)), seconds * 1000);
        });
        const line = { table: this.table, client: this.title, feature, ok: true };
        try {
            await Promise.race([action(), late]);
        } catch (error) {
            failures += 1;
            line.ok = false;
            const at = String(error.stack).match(/(\w+\.js:\d+):\d+\)?$/m);
            line.error = `${String(error.message).replace(/\s+/g, ' ')} (${at ? at[1] : ''})`;
        }
        clearTimeout(timer);
        console.log(JSON.stringify(line));
    }
}

/** The version of a module, from its own package.json. */
function version(name) {
    const modules = process.env.NODE_PATH;
    return JSON.parse(fs.readFileSync(path.join(modules, name, 'package.json'))).version;
}

/** Ends the script, whatever connection is still open. */
function finish() {
    process.exit(failures ? 1 : 0);
}

/** Waits until the condition holds. */
async function until(condition, what) {
    for (let i = 0; i < 500; i += 1) {
        if (await condition()) return;
        await new Promise((resolve) => setTimeout(resolve, 10));
    }
    throw new Error(`never: ${what}`);
}

// What nobody waits for is a failure too.
process.on('unhandledRejection', (error) => {
    failures += 1;
    console.error(error);
});

module.exports = { Client, address, finish, ours, port, until, version };
