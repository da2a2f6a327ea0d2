/**
 * Where the page begins: at all names, or at one.
 */
import { find } from "./dom.ts"
import { beginList } from "./listPage.ts"
import { beginName } from "./namePage.ts"
import { nameOf } from "./paths.ts"
import { tick } from "./remaining.ts"

const name = nameOf(location.pathname, location.search)
tick()
if (name === undefined) {
  find("#one").remove()
  find("#all").hidden = false
  beginList()
} else {
  find("#all").remove()
  find("#one").hidden = false
  beginName(name)
}
