/** For `seed-pool.test.ts`: a seed says what its process does. */
import { OnefoldError } from "../../base/errors.ts";
import { serveSeeds } from "./seed-child.ts";

serveSeeds(async (task) => async (seed, { isGuarded }) => {
  const [what = "", argument = ""] = seed.split(":");
  switch (what) {
    case "late":
      await new Promise((resolve) => setTimeout(resolve, Number(argument)));
      break;
    case "exit":
      process.exit(Number(argument));
      break;
    case "hang":
      // For ever, or until somebody limits it.
      while (argument === "always" || !isGuarded);
      break;
    case "refuse":
      throw new OnefoldError("invalid-configuration", `refused by ${seed}`);
  }
  return { seed, task, isGuarded, isLast: what === "end" || argument === "end" };
});
