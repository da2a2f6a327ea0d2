/**
 * The pages themselves: what stands there before anything is known. No text of anybody's is ever put into them.
 */

const head = (title: string): string =>
  `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/page/style.css">`

const list = `<div id="all" hidden>
<h1 class="unseen">Names that are held</h1>
<section aria-label="What happens" id="plots"></section>
<div class="bar">
<form role="search" id="finding">
<label for="search" class="unseen">Search by how a name begins</label>
<input id="search" type="search" placeholder="Search by how a name begins" autocomplete="off" spellcheck="false" aria-keyshortcuts="/">
<kbd aria-hidden="true">/</kbd>
</form>
<p id="count" role="status"></p>
</div>
<div class="scrolled" tabindex="0" role="region" aria-label="Names that are held">
<table id="names" hidden>
<caption class="unseen">Names that are held, and who holds them</caption>
<thead><tr>
<th scope="col" data-order="name"><button type="button">Name</button></th>
<th scope="col" class="holder">Holder</th>
<th scope="col" class="since number" data-order="since"><button type="button">Held for</button></th>
<th scope="col" class="number" data-order="endsAt"><button type="button">Remaining</button></th>
<th scope="col" class="held number" data-order="held"><button type="button">Holders</button></th>
<th scope="col" class="number" data-order="waiting"><button type="button">Waiting</button></th>
</tr></thead>
<tbody></tbody>
</table>
</div>
<div id="empty" class="empty" hidden>
<p id="empty-title" class="title"></p>
<p>A name is here from when it is taken until it is given back, or ends.</p>
<a id="open" href="/" hidden></a>
</div>
<nav id="pages" aria-label="Pages of names" hidden>
<button type="button" id="earlier">Earlier</button>
<button type="button" id="later">Later</button>
</nav>
</div>`

const revoking = `<dialog id="revoke" aria-labelledby="revoke-title" aria-describedby="revoke-what">
<form method="dialog" autocomplete="off">
<h2 id="revoke-title">Revoke</h2>
<p id="revoke-what"></p>
<fieldset>
<legend>Who you are: an identity that may revoke</legend>
<label for="identity-file">Its file, as made by <code>dlm identity --admin</code></label>
<input id="identity-file" type="file" accept=".cfg">
<label for="identity-name">Its name</label>
<input id="identity-name" required maxlength="64" pattern="[A-Za-z0-9_\\-]+" autocomplete="off" spellcheck="false">
<details>
<summary>Paste the content of its file instead</summary>
<label for="identity-proof">Content, or the secret alone</label>
<textarea id="identity-proof" rows="3" autocomplete="off" spellcheck="false"></textarea>
</details>
</fieldset>
<label for="reason">Reason. It is logged, and told to the holder and to all who ask</label>
<input id="reason" required maxlength="256" autocomplete="off">
<div class="check">
<input id="force" type="checkbox" aria-describedby="force-means">
<label for="force">Free the name at once, by force</label>
</div>
<p id="force-means" class="quiet">Without it the tenure is renewed no more, and the name stays taken until its end, so nobody else is let in
while its holder may still be at work. By force the next is let in at once, though the holder may still be inside: then only a check of
the fence protects what the lock is for.</p>
<p id="revoke-answer" role="alert"></p>
<div class="actions">
<button type="button" id="revoke-cancel">Cancel</button>
<button type="submit" id="revoke-submit" class="danger">Revoke</button>
</div>
</form>
</dialog>`

const one = `<article id="one" hidden>
<p><a href="/">All names</a></p>
<div class="heading">
<h1 id="name"></h1>
<span id="held" class="badge" role="status"></span>
<span id="limit" class="quiet"></span>
</div>
<p id="done" role="status"></p>
<section aria-labelledby="holders-title">
<h2 id="holders-title">Held by</h2>
<ul id="holders"></ul>
<p id="free" class="empty" hidden>Nobody holds it.</p>
</section>
<section aria-labelledby="queue-title">
<h2 id="queue-title">Queue</h2>
<p id="waiting" class="quiet"></p>
<ol id="queue"></ol>
<p id="more" class="quiet" hidden></p>
</section>
<section aria-labelledby="history-title" id="history">
<h2 id="history-title">Lately</h2>
<p id="no-events" class="quiet">Nothing that the server still knows of.</p>
<ol id="log"></ol>
</section>
${revoking}
</article>`

/** The page of all names and that of one: which it is, its script sees by its address. */
export const page = (hasToken: boolean): string =>
  `${head("locks")}
<script type="module" src="/page/main.js"></script>
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<header>
<a class="home" href="/">locks</a>
<span id="server" class="quiet"></span>
<span id="state" role="status">connecting…</span>
${hasToken ? `<form method="post" action="/leave"><button type="submit" class="plain">Sign out</button></form>` : ""}
</header>
<main id="main" tabindex="-1">
<p id="problem" role="alert" hidden></p>
${list}
${one}
</main>
<footer>
<h2>What is not seen here</h2>
<ul id="blind"></ul>
</footer>
<noscript>This page needs its script. <code>dlm ls</code> and <code>dlm show NAME</code> tell the same.</noscript>
</body>
</html>
`

/** The form that asks for the token. */
export const asking = (isWrong: boolean): string =>
  `${head("locks: sign in")}
</head>
<body class="asking">
<main>
<h1>locks</h1>
<form method="post" action="/enter">
<label for="token">Token, as given to <code>dlm serve --http-token</code></label>
<input id="token" name="token" type="password" required autofocus autocomplete="current-password"${
    isWrong ? ` aria-invalid="true" aria-describedby="wrong"` : ""
  }>
${isWrong ? `<p id="wrong" role="alert">That is another token.</p>` : ""}
<button type="submit">Sign in</button>
</form>
</main>
</body>
</html>
`
