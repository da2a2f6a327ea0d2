/**
 * Times as the page shows them.
 */

const second = 1000
const minute = 60 * second
const hour = 60 * minute
const day = 24 * hour

const two = (number: number): string => String(Math.floor(number)).padStart(2, "0")

/** How long something takes: the two largest units, and tenths of a second below ten. */
export const duration = (millis: number): string => {
  const left = Math.max(0, millis)
  if (left < 10 * second) return `${(Math.floor(left / 100) / 10).toFixed(1)} s`
  if (left < minute) return `${Math.floor(left / second)} s`
  if (left < hour) return `${Math.floor(left / minute)} m ${two((left % minute) / second)} s`
  if (left < day) return `${Math.floor(left / hour)} h ${two((left % hour) / minute)} m`
  return `${Math.floor(left / day)} d ${two((left % day) / hour)} h`
}

/** How long something took, where it may be short: to the millisecond below one second. */
export const took = (millis: number): string => millis < second ? `${Math.round(millis)} ms` : duration(millis)

/** The time of a day, and the date where that is another day. */
export const clock = (at: number, now: number): string => {
  const then = new Date(at)
  const time = `${two(then.getHours())}:${two(then.getMinutes())}:${two(then.getSeconds())}`
  const date = `${then.getFullYear()}-${two(then.getMonth() + 1)}-${two(then.getDate())}`
  return new Date(now).toDateString() === then.toDateString() ? time : `${date} ${time}`
}

/** A number with its thousands apart. */
export const count = (number: number): string => String(number).replace(/\B(?=(\d{3})+$)/g, "\u202f")

/** A number of things each second. */
export const rate = (number: number): string =>
  number < 10 && !Number.isInteger(number) ? number.toFixed(1) : count(Math.round(number))
