// Deploy, send, call, read logs and decode a revert with unmodified ethers 6.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const [url, artifactPath, modules] = process.argv.slice(2);
const { JsonRpcProvider, Wallet, ContractFactory } = createRequire(join(modules, "x.js"))("ethers");
const artifact = JSON.parse(readFileSync(artifactPath, "utf8"));
// A block takes less time than ethers keeps an answer for: a second nonce would be the first.
const provider = new JsonRpcProvider(url, undefined, { cacheTimeout: -1 });
const wallet = Wallet.createRandom().connect(provider);
const factory = new ContractFactory(artifact.abi, artifact.bytecode, wallet);
const contract = await factory.deploy(wallet.address, wallet.address);
await contract.waitForDeployment();
const sent = await contract.admitOrg(5, "0x" + "01".repeat(32), 1, 7);
const receipt = await sent.wait();
const org = await contract.getOrg(5);
const logs = await contract.queryFilter("OrgAdmitted", 0);
let code = null;
try {
  await contract.admitOrg.staticCall(5, "0x" + "01".repeat(32), 1, 7);
} catch (error) {
  code = Number(error.revert?.args[0]);
}
const block = await provider.getBlock(receipt.blockNumber, true);
console.log(
  JSON.stringify({
    status: receipt.status,
    roles: Number(org.roles),
    logs: logs.length,
    code,
    transactions: block.transactions.length,
  }),
);
provider.destroy();
