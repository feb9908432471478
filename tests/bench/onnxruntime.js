// One timed encode after another by ONNX Runtime, a line of milliseconds each.
//
//     node onnxruntime.js MODEL.onnx RESOLUTION THREADS RUNS
//
// Needs the npm package onnxruntime-node. The first run, which warms up, is not printed.
//
// SPDX-License-Identifier: LGPL-2.1-or-later
const ort = require('onnxruntime-node');

async function main() {
    const [model, resolution, threads, runs] = process.argv.slice(2);
    const side = Number(resolution);
    const session = await ort.InferenceSession.create(model, {
        intraOpNumThreads: Number(threads),
        graphOptimizationLevel: 'all',
        logSeverityLevel: 3,
    });
    const pixels = Float32Array.from({ length: 3 * side * side }, (_, i) => ((i * 7919) % 256) / 255);
    const feeds = { x: new ort.Tensor('float32', pixels, [1, 3, side, side]) };
    for (let run = 0; run <= Number(runs); run++) {
        const start = performance.now();
        await session.run(feeds);
        if (run > 0)
            console.log((performance.now() - start).toFixed(1));
    }
}

main();
