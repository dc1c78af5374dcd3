// What a program does with pgjdbc, told step by step on standard output; test/e2e/postgres-drivers.full.test.ts compares.
// Run as a single source file, with Debian's driver in the class path.

import java.io.ByteArrayOutputStream;
import java.io.StringReader;
import java.security.MessageDigest;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.util.PSQLException;
import org.postgresql.util.ServerErrorMessage;

class Program {
  static final int POOL = 20;
  static final int ROWS = 200_000;

  public static void main(String[] args) throws Exception {
    try (Connection connection = connect()) {
      statements(connection);
      transactions(connection);
      errors(connection);
      results(connection);
      copy(connection);
      notifications(connection);
      cancel(connection);
    }
    pool();
  }

  static Connection connect() throws SQLException {
    String url = "jdbc:postgresql://" + env("DRIVER_HOST") + ":" + env("DRIVER_PORT") + "/" + env("DRIVER_DATABASE");
    Properties properties = new Properties();
    properties.setProperty("user", env("DRIVER_USER"));
    properties.setProperty("ApplicationName", "a driver");
    if (System.getenv("DRIVER_CA") == null) properties.setProperty("sslmode", "disable");
    else {
      properties.setProperty("sslmode", "verify-full");
      properties.setProperty("sslrootcert", env("DRIVER_CA"));
      properties.setProperty("sslcert", env("DRIVER_CERT"));
      properties.setProperty("sslkey", env("DRIVER_KEY_DER"));
    }
    return DriverManager.getConnection(url, properties);
  }

  static void statements(Connection connection) throws SQLException {
    tell("who", rows(connection, "SELECT current_user, current_setting('application_name')"));
    // From the fifth execution on the driver names the statement at the server.
    try (PreparedStatement twice = connection.prepareStatement("SELECT ?::int * 2, ?::text")) {
      for (int n = 1; n <= 8; n++) {
        twice.setInt(1, n);
        twice.setString(2, "é");
        tell("prepared", rows(twice.executeQuery()));
      }
    }
    tell("types", rows(connection,
        "SELECT '{\"a\": [1]}'::jsonb, '{1,2}'::int[], '\\x00ff'::bytea::text, 1.50::numeric, NULL, true"));
  }

  static void transactions(Connection connection) throws SQLException {
    execute(connection, "CREATE TEMP TABLE t (id int PRIMARY KEY, body text)");
    connection.setAutoCommit(false);
    for (boolean commits : new boolean[] {false, true}) {
      try (PreparedStatement insert = connection.prepareStatement("INSERT INTO t VALUES (?, ?)")) {
        for (int n = 1; n <= 100; n++) {
          insert.setInt(1, n);
          insert.setString(2, "row " + n);
          insert.addBatch();
        }
        tell("batch", String.valueOf(insert.executeBatch().length));
      }
      Savepoint savepoint = connection.setSavepoint();
      tell("error", failure(connection, "SELECT 1 / 0"));
      connection.rollback(savepoint);
      if (commits) connection.commit();
      else connection.rollback();
      tell("rows", rows(connection, "SELECT count(*) FROM t"));
      connection.commit();
    }
    connection.setAutoCommit(true);
  }

  static void errors(Connection connection) throws SQLException {
    for (String text : List.of("INSERT INTO t VALUES (1)", "SELECT 1/0", "SELECT * FROM nowhere", "SELEC"))
      tell("error", failure(connection, text));
    tell("goes on", rows(connection, "SELECT 1"));
  }

  static void results(Connection connection) throws Exception {
    MessageDigest hash = MessageDigest.getInstance("SHA-256");
    connection.setAutoCommit(false);
    int count = 0;
    try (Statement statement = connection.createStatement()) {
      statement.setFetchSize(1000);
      ResultSet rows = statement.executeQuery("SELECT n, md5(n::text) FROM generate_series(1, " + ROWS + ") n");
      while (rows.next()) {
        count++;
        hash.update((rows.getInt(1) + " " + rows.getString(2) + "\n").getBytes("UTF-8"));
      }
    }
    connection.commit();
    connection.setAutoCommit(true);
    tell("many rows by a cursor", count + " " + hex(hash));
    tell("a large value", String.valueOf(rows(connection, "SELECT repeat('é', 10000000)").length()));
  }

  static void copy(Connection connection) throws Exception {
    execute(connection, "CREATE TEMP TABLE copied (id int, body text)");
    StringBuilder lines = new StringBuilder();
    for (int n = 0; n < ROWS; n++) lines.append(n).append('\t').append("é".repeat(n % 30)).append('\n');
    var copies = connection.unwrap(PGConnection.class).getCopyAPI();
    tell("copied", String.valueOf(copies.copyIn("COPY copied FROM STDIN", new StringReader(lines.toString()))));
    ByteArrayOutputStream back = new ByteArrayOutputStream();
    copies.copyOut("COPY (SELECT * FROM copied ORDER BY id) TO STDOUT", back);
    tell("same", String.valueOf(lines.toString().equals(back.toString("UTF-8"))));
  }

  static void notifications(Connection connection) throws SQLException {
    execute(connection, "LISTEN news");
    execute(connection, "NOTIFY news, 'ünïcode'");
    for (PGNotification heard : connection.unwrap(PGConnection.class).getNotifications(10_000))
      tell("heard", heard.getName() + " " + heard.getParameter());
  }

  static void cancel(Connection connection) throws Exception {
    try (Statement sleep = connection.createStatement(); Connection other = connect()) {
      Thread canceller = new Thread(() -> {
        try {
          String busy = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND usename = current_user";
          while (!rows(other, busy).equals("[1]")) Thread.onSpinWait();
          sleep.cancel();
        } catch (SQLException error) {
          tell("not canceled", error.toString());
        }
      });
      canceller.start();
      tell("canceled", failure(() -> sleep.executeQuery("SELECT pg_sleep(60)")));
      canceller.join();
    }
    try (Statement statement = connection.createStatement()) {
      statement.setQueryTimeout(1);
      tell("timed out", failure(() -> statement.executeQuery("SELECT pg_sleep(60)")));
    }
    tell("goes on", rows(connection, "SELECT 2"));
  }

  static void pool() throws Exception {
    List<Connection> connections = new ArrayList<>();
    ExecutorService threads = Executors.newFixedThreadPool(POOL);
    List<Future<Connection>> opened = new ArrayList<>();
    for (int n = 0; n < POOL; n++) opened.add(threads.submit((Callable<Connection>) Program::connect));
    for (Future<Connection> each : opened) connections.add(each.get());
    Set<String> sessions = new HashSet<>();
    List<Future<String>> answers = new ArrayList<>();
    for (Connection each : connections) {
      sessions.add(rows(each, "SELECT pg_backend_pid()"));
      for (int n = 0; n < 20; n++) answers.add(threads.submit(() -> rows(each, "SELECT 42")));
    }
    int right = 0;
    for (Future<String> each : answers) if (each.get().equals("[42]")) right++;
    threads.shutdown();
    for (Connection each : connections) each.close();
    tell("pool", right + " answers of " + sessions.size() + " sessions");
  }

  interface Attempt {
    void run() throws SQLException;
  }

  static String failure(Connection connection, String sql) {
    return failure(() -> execute(connection, sql));
  }

  /** What the server said of it, field by field. */
  static String failure(Attempt attempt) {
    try {
      attempt.run();
      return "no error";
    } catch (PSQLException error) {
      ServerErrorMessage said = error.getServerErrorMessage();
      if (said == null) return error.toString();
      return String.join("|", String.valueOf(said.getSQLState()), String.valueOf(said.getSeverity()),
          String.valueOf(said.getMessage()), String.valueOf(said.getDetail()), String.valueOf(said.getHint()),
          String.valueOf(said.getConstraint()), String.valueOf(said.getPosition()));
    } catch (SQLException error) {
      return error.toString();
    }
  }

  static void execute(Connection connection, String sql) throws SQLException {
    try (Statement statement = connection.createStatement()) {
      statement.execute(sql);
    }
  }

  static String rows(Connection connection, String sql) throws SQLException {
    try (Statement statement = connection.createStatement()) {
      return rows(statement.executeQuery(sql));
    }
  }

  static String rows(ResultSet result) throws SQLException {
    List<String> rows = new ArrayList<>();
    int columns = result.getMetaData().getColumnCount();
    while (result.next()) {
      List<String> row = new ArrayList<>();
      for (int column = 1; column <= columns; column++) row.add(result.getString(column));
      rows.add(String.join("|", row.stream().map(String::valueOf).toList()));
    }
    return rows.toString();
  }

  static String hex(MessageDigest hash) {
    StringBuilder text = new StringBuilder();
    for (byte each : hash.digest()) text.append(String.format("%02x", each));
    return text.toString();
  }

  static String env(String name) {
    String value = System.getenv(name);
    if (value == null) throw new IllegalStateException(name + " is not set");
    return value;
  }

  static void tell(String step, String result) {
    System.out.println(step + ": " + result);
  }
}
