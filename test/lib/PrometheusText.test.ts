import { assert, describe, it } from "@effect/vitest"
import * as PrometheusText from "../../src/lib/PrometheusText.ts"

const one = `# HELP requests_total Requests
# TYPE requests_total counter
requests_total{action="Lock",status="Locked"} 3
requests_total{action="a b",status="NO"} 1
# TYPE open gauge
open 2
# TYPE wait histogram
wait_bucket{le="1"} 1
wait_bucket{le="+Inf"} 2
wait_sum 7.5
wait_count 2
`
const other = `# TYPE open gauge
open 5
# HELP requests_total Requests
# TYPE requests_total counter
requests_total{action="Lock",status="Locked"} 10
requests_total{action="Unlock",status="Unlocked"} 4
# TYPE wait histogram
wait_bucket{le="1"} 3
wait_bucket{le="+Inf"} 3
wait_sum 0.25
wait_count 3
# TYPE only gauge
only +Inf
`

describe("metrics of several processes", () => {
  it("are added by name and labels, and described once", () => {
    assert.strictEqual(
      PrometheusText.sum([one, other]),
      `# HELP requests_total Requests
# TYPE requests_total counter
requests_total{action="Lock",status="Locked"} 13
requests_total{action="a b",status="NO"} 1
requests_total{action="Unlock",status="Unlocked"} 4
# TYPE open gauge
open 7
# TYPE wait histogram
wait_bucket{le="1"} 4
wait_bucket{le="+Inf"} 5
wait_sum 7.75
wait_count 5
# TYPE only gauge
only +Inf
`
    )
  })

  it("are those of one where there is one, and none where there is none", () => {
    assert.strictEqual(PrometheusText.sum([one]), one)
    assert.strictEqual(PrometheusText.sum([]), "")
  })

  it("keep of a process that has ended what it has counted alone", () => {
    const kept = PrometheusText.totals(other)
    assert.notInclude(kept, "open")
    assert.include(kept, `requests_total{action="Lock",status="Locked"} 10\n`)
    assert.include(kept, "wait_count 3\n")
  })
})
