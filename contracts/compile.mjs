// Compile the Solidity sources with npm's solc and print one JSON object per contract.
// Run through `python -m lowu.contracts.compile`, which writes or checks contracts/artifacts/.
import { readFileSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const [solcDir, ...sourceDirs] = process.argv.slice(2);
const solc = createRequire(join(solcDir, "package.json"))("solc");
const artifacts = {};

function compileFolder(sourceDir) {
  const names = readdirSync(sourceDir).filter((name) => name.endsWith(".sol")).sort();
  const sources = Object.fromEntries(
    names.map((name) => [name, { content: readFileSync(join(sourceDir, name), "utf8") }]),
  );
  const output = JSON.parse(
    solc.compile(
      JSON.stringify({
        language: "Solidity",
        sources,
        settings: {
          evmVersion: "london",
          optimizer: { enabled: true, runs: 200 },
          outputSelection: {
            "*": { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"] },
          },
        },
      }),
    ),
  );
  const problems = (output.errors ?? []).map((item) => item.formattedMessage);
  if (problems.length > 0) {
    console.error(problems.join("\n"));
    process.exit(1);
  }
  for (const name of names) {
    const contractName = name.replace(".sol", "");
    const contract = output.contracts[name][contractName];
    if (contract.evm.bytecode.object === "") continue; // abstract: part of others
    artifacts[contractName] = {
      contractName,
      sourceName: name,
      compiler: solc.version(),
      evmVersion: "london",
      abi: contract.abi,
      bytecode: "0x" + contract.evm.bytecode.object,
      deployedBytecode: "0x" + contract.evm.deployedBytecode.object,
    };
  }
}

sourceDirs.forEach(compileFolder);
console.log(JSON.stringify(artifacts));
