// ONNX Runtime as a peer of `bench peers`, which says how a peer behaves.  make deps-dev installs it.
import fs from 'node:fs';
import { createRequire } from 'node:module';

const [model, input, output, channels, height, width, threads] = process.argv.slice(2);
const require = createRequire(import.meta.url);
let ort;
try {
  ort = require('onnxruntime-node');
} catch (error) {
  if (error.code !== 'MODULE_NOT_FOUND') throw error;
  process.exit(77);
}

const line = (...words) => fs.writeSync(1, words.join(' ') + '\n');
const now = () => Number(process.hrtime.bigint()) * 1e-9;

const asked = () => fs.readSync(0, Buffer.alloc(16)) > 0;

const bytes = fs.readFileSync(input);
const data = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
const started = now();
const session = await ort.InferenceSession.create(`${model}.onnx`, {
  intraOpNumThreads: Number(threads),
  interOpNumThreads: 1,
  graphOptimizationLevel: 'all',
  freeDimensionOverrides: { height: Number(height), width: Number(width) },
});
const loaded = now() - started;
const feed = { [session.inputNames[0]]: new ort.Tensor('float32', data, [1, channels, height, width].map(Number)) };
const run = async () => (await session.run(feed))[session.outputNames[0]].data;

const result = await run();
fs.writeFileSync(output, Buffer.from(result.buffer, result.byteOffset, result.byteLength));
line('version', require('onnxruntime-node/package.json').version);
line('load', loaded);
line('ready');
while (asked()) {
  const began = now();
  await run();
  line('run', now() - began);
}
line('memory', process.resourceUsage().maxRSS * 1024);
