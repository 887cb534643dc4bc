import { defineConfig } from "../contracts/config.ts";
import { SEARCH } from "./search-objects.ts";

export default defineConfig({ search: SEARCH });
