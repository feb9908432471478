// Prefill and decode by llama.cpp, a line of JSON: {"prefill_tok_s": [..], "decode_tok_s": [..]}.
//
//     node llama_cpp.mjs MODEL.gguf THREADS PROMPT-TOKENS NEW-TOKENS RUNS
//
// The first run, which warms up, is not counted; with RUNS 0 a short prompt warms up and one run counts.
//
// Run it where the npm package node-llama-cpp is installed.
//
// SPDX-License-Identifier: LGPL-2.1-or-later
import { pathToFileURL } from 'node:url';

// A module is looked for from its importer's folder, which here is not where packages are installed.
const installed = pathToFileURL(`${process.cwd()}/node_modules/node-llama-cpp/dist/index.js`);
const { getLlama } = await import(installed);
const [path, threads, nPrompt, nNew, nRuns] = [process.argv[2], ...process.argv.slice(3).map(Number)];
const llama = await getLlama({ gpu: false, build: 'never', maxThreads: threads, logLevel: 'error' });
const model = await llama.loadModel({ modelPath: path, useMmap: true });
const context = await model.createContext({ contextSize: nPrompt + nNew + 64, threads, batchSize: 512 });
const sequence = context.getSequence();

async function run(nTokens, rates) {
    const prompt = Array.from({ length: nTokens }, (_, i) => 1000 + ((i * 37) % 50000));
    await sequence.clearHistory();
    const start = performance.now();
    await sequence.evaluateWithoutGeneratingNewTokens(prompt);
    const middle = performance.now();
    let n = 0;
    for await (const _ of sequence.evaluate([42], { temperature: 0 }))
        if (++n >= nNew)
            break;
    rates.prefill_tok_s.push((nTokens / (middle - start)) * 1e3);
    rates.decode_tok_s.push((n / (performance.now() - middle)) * 1e3);
}

const rates = { prefill_tok_s: [], decode_tok_s: [] };
await run(nRuns > 0 ? nPrompt : 64, { prefill_tok_s: [], decode_tok_s: [] });
for (let i = 0; i < Math.max(nRuns, 1); i++)
    await run(nPrompt, rates);
console.log(JSON.stringify(rates));
process.exit(0);
